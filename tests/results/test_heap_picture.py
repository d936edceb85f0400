"""Pictures of a heap: each cell says the truth about its blocks, in every width."""

import io
import itertools
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from harness.cli import main
from harness.reference.engine.heap_map import BLOCK, FREE, HEAD, TAIL, HeapMap
from harness.reference.vm import ReferenceVm
from harness.results.report.heap_picture import (
    EMPTY,
    FULL,
    LARGEST,
    MUCH,
    SOME,
    HeapPicture,
    cells_of,
    figures,
    heap_svg,
)

SVG = "{http://www.w3.org/2000/svg}"
heaps = st.lists(st.tuples(st.sampled_from([FREE, HEAD, TAIL]), st.integers(1, 60)), min_size=1, max_size=40).map(
    lambda runs: HeapMap(0x1000, b"".join(bytes([kind]) * count for kind, count in runs))
)


def drawn(heap: HeapMap, width: int, *more: HeapMap) -> str:
    out = io.StringIO()
    maps = [(f"map {n}", one) for n, one in enumerate((heap, *more))]
    Console(file=out, width=width, color_system=None).print(HeapPicture(maps))
    return out.getvalue()


@given(heap=heaps, at_most=st.integers(1, 300))
def test_a_cell_says_how_full_its_blocks_are(heap: HeapMap, at_most: int) -> None:
    cells = cells_of(heap, at_most)
    assert len(cells.shades) <= at_most
    for number, shade in enumerate(cells.shades):
        part = heap.blocks[number * cells.blocks_per_cell :][: cells.blocks_per_cell]
        share = 1 - part.count(FREE) / len(part)
        if shade in (EMPTY, LARGEST):
            assert share == 0
        elif shade == FULL:
            assert share == 1
        else:
            assert 0 < share < 1
            assert (shade == MUCH) == (share > 0.5)
    if cells.blocks_per_cell == 1:
        assert SOME not in cells.shades
        assert cells.shades.count(LARGEST) * BLOCK == heap.largest_free


@given(heap=heaps, width=st.integers(20, 200))
def test_the_terminal_picture_shows_every_cell_and_fits_the_width(heap: HeapMap, width: int) -> None:
    lines = drawn(heap, width).splitlines()
    assert all(cell_len(line) <= width for line in lines)
    rows = [match for line in lines if (match := re.fullmatch(r"([0-9a-f]{8}) ([·░▒█-]+)", line))]
    assert 1 <= len(rows) <= 16
    assert int(rows[0][1], 16) == heap.pool
    per_cell = int(re.search(r"one cell: (\d+) block", " ".join(lines))[1])  # type: ignore[index]
    assert sum(len(row[2]) for row in rows) == -(-len(heap.blocks) // per_cell)
    for above, below in itertools.pairwise(rows):
        assert int(below[1], 16) - int(above[1], 16) == len(above[2]) * per_cell * BLOCK


def test_the_largest_free_run_is_marked_and_others_are_not() -> None:
    heap = HeapMap(0, bytes([HEAD, FREE, FREE, HEAD, FREE, FREE, FREE, HEAD, FREE]))
    assert "00000000 █··█---█·\n" in drawn(heap, 80)
    assert figures(heap) == ("48 B used of 144 B (33.3 %), 96 B free, largest free run 48 B, fragmentation 50.0 %")


@pytest.mark.parametrize(("blocks", "partly"), [(10, []), (1500, ["up to"]), (10_000, ["up to", "more than"])])
def test_the_legend_names_the_shades_that_can_occur(blocks: int, partly: list[str]) -> None:
    assert re.findall(r"(up to|more than) half", " ".join(drawn(HeapMap(0, bytes(blocks)), 80).split())) == partly


def test_a_pair_has_one_scale() -> None:
    text = drawn(HeapMap(0, bytes([HEAD]) * 8000), 80, HeapMap(0, bytes(1000)))
    assert text.count("one cell") == 1
    per_cell = int(re.search(r"one cell: (\d+) blocks", text)[1])  # type: ignore[index]
    assert text.count("█") - 1 == 8000 // per_cell  # one is in the legend
    assert text.count("-") - 1 == 1000 // per_cell


@pytest.mark.parametrize("picture", [HeapPicture, heap_svg])
def test_no_map_is_refused(picture: type) -> None:
    with pytest.raises(ValueError, match="needs a heap map"):
        picture([])


def test_full_and_empty_heaps_have_a_picture() -> None:
    assert "(100.0 %), 0 B free, largest free run 0 B, fragmentation 0.0 %" in drawn(HeapMap(0, b"\x01" * 64), 120)
    ElementTree.fromstring(heap_svg([("none", HeapMap(0, b""))]))


@given(heap=heaps)
def test_the_svg_covers_every_cell_once(heap: HeapMap) -> None:
    root = ElementTree.fromstring(heap_svg([("now", heap)]))
    cells = cells_of(heap, 96 * 24)
    rows: dict[int, list[tuple[int, int, str]]] = {}
    for rect in root.iter(f"{SVG}rect"):
        if rect.get("height") == "8":
            rows.setdefault(int(rect.attrib["y"]), []).append(
                (int(rect.attrib["x"]), int(rect.attrib["width"]), rect.attrib["class"])
            )
    found: list[int] = []
    for y in sorted(rows):
        for x, width, shade in sorted(rows[y]):
            assert x == 82 + 8 * (len(found) % 96)
            found += [int(shade[1:])] * (width // 8)
    assert tuple(found) == cells.shades


@given(title=st.text(max_size=40))
def test_a_title_is_text_and_nothing_else(title: str) -> None:
    hostile = f'{title}</title><script>alert(1)</script>"\x1b[31m'
    text = heap_svg([(hostile, HeapMap(0, bytes(20)))], title=hostile)
    root = ElementTree.fromstring(text)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg",
        "title",
        "desc",
        "style",
        "rect",
        "text",
    }
    assert "\x1b" not in text
    out = io.StringIO()
    Console(file=out, width=80, color_system=None).print(HeapPicture([(hostile + "[bold]", HeapMap(0, bytes(20)))]))
    assert "\x1b" not in out.getvalue()
    assert "[bold]" in out.getvalue()


def test_the_svg_loads_nothing() -> None:
    text = heap_svg([("now", HeapMap(0, bytes(20)))])
    assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"href|url\(|@import|script", text)


def test_a_collection_is_seen_in_the_pair() -> None:
    with ReferenceVm() as vm:
        vm.run("import gc\ngc.disable()\nfor i in range(200): x = bytearray(64)")
        before = vm.heap_map()
        vm.run("x = None\ngc.collect()")
        after = vm.heap_map()
    assert before.used - after.used >= 190 * 64
    text = drawn(before, 100, after)
    assert figures(before) in text
    assert figures(after) in text


def test_a_terminal_without_unicode_gets_ascii() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    Console(file=out, width=80, color_system=None).print(HeapPicture([("now", HeapMap(0, bytes([HEAD, FREE, HEAD])))]))
    out.flush()
    assert b"00000000 #-#\n" in raw.getvalue()


def test_the_command_draws_the_heap_after_the_program_and_after_a_collection(tmp_path: Path) -> None:
    program, svg = tmp_path / "a<b>.py", tmp_path / "heap.svg"
    program.write_text("import gc\ngc.disable()\nfor i in range(200): x = bytearray(64)\nprint('done')")
    done = CliRunner().invoke(main, ["reference", "run", str(program), "--heap-map", "--heap-svg", str(svg)])
    assert (done.exit_code, done.stdout) == (0, "done\n")
    words = " ".join(done.stderr.split())
    used = [int(found) for found in re.findall(r"(\d+) B used of 56000 B", words)]
    assert len(used) == 2
    assert used[0] - used[1] >= 190 * 64
    texts = [element.text for element in ElementTree.parse(svg).iter(f"{SVG}text")]
    assert texts[0] == "Heap of a<b>.py"
    assert {"after the program", "after a collection"} < set(texts)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("x = 1", ["--heap-svg", "no/such/folder/x.svg"], "cannot be written"),
        ("raise SystemExit", ["--heap-map"], "no heap to draw"),
    ],
)
def test_a_picture_that_cannot_be_made_is_a_usage_error(
    tmp_path: Path, source: str, options: list[str], message: str
) -> None:
    program = tmp_path / "p.py"
    program.write_text(source)
    done = CliRunner().invoke(main, ["reference", "run", str(program), *options])
    assert done.exit_code == 2
    assert message in done.stderr


def test_of_equal_free_runs_the_first_is_marked() -> None:
    assert cells_of(HeapMap(0, bytes([FREE, HEAD, FREE])), 80).shades == (LARGEST, FULL, EMPTY)
