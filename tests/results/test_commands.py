"""The commands: what they print, what they write, how they end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.campaigns import bisect as command
from harness.campaigns import image_runs as runner
from harness.campaigns.bench_run import RunRequest
from harness.cli import main
from harness.errors import BenchFault, UsageError
from harness.inventory.load import load_bench
from harness.judging.outcome import Outcome
from harness.kinds import Effect, Value
from harness.paths import shipped_bench
from harness.results.history_table import sparkline
from harness.results.series import Entry
from harness.results.store import Store
from tests.results.sample_stores import heaps, nightly


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.sqlite"


def harness(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(main, [str(argument) for argument in arguments])


def test_history_shows_the_step_and_the_first_bad_run(path: Path) -> None:
    heaps(path, [784] * 4 + [800] * 3).close()
    result = harness("history", "b", "x", "--store", path)
    assert result.exit_code == 0
    assert "784 → 800 since run 5" in result.output
    marked = [line for line in result.output.splitlines() if "first changed run" in line]
    assert len(marked) == 1
    assert marked[0].split()[:2] == ["run", "5"]
    assert "v1.4" in marked[0]


def test_history_as_json_names_the_run_and_the_firmware(path: Path, tmp_path: Path) -> None:
    heaps(path, [784] * 4 + [800] * 3).close()
    harness("history", "b", "--store", path, "--json", tmp_path / "out.json")
    (figure,) = json.loads((tmp_path / "out.json").read_text())["figures"]
    assert figure["steps"][0]["first_run"] == 5
    assert figure["steps"][0]["sha256"] == f"{4:064x}"
    assert (figure["baseline"]["middle"], len(figure["runs"])) == (800, 7)


def narrow(*arguments: object) -> str:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0
    return result.output


def test_on_80_columns_no_name_is_broken_and_no_line_too_long(path: Path) -> None:
    names = ["x", "largest_free_run.loss", "n" * 79]
    store = Store(path)
    for build, value in enumerate([784] * 4 + [800] * 3):
        nightly(store, dict.fromkeys(names, ("heap", value)), build=build)
    store.close()
    output = narrow("history", "b", "--store", path)
    assert max(map(len, output.splitlines())) <= 81  # a name of 79 characters is not broken for two of margin
    assert [name in output for name in names] == [True] * 3
    assert output.count("reload: leaks") == 1
    assert output.count("784 → 800 since run 5") == 3


def test_figures_that_never_changed_are_counted_and_shown_when_asked_for(path: Path) -> None:
    store = Store(path)
    for value in (784, 800):
        nightly(store, {"moves": ("heap", value), "stays": ("heap", 48), "rests": ("count", 3)}, build=1)
    store.close()
    output = narrow("history", "b", "--store", path)
    assert "moves" in output and "stays" not in output
    assert "2 figures in 1 scenario never changed (--all shows them)" in output
    for arguments in (("b", "--all"), ("b", "stays")):
        output = narrow("history", *arguments, "--store", path)
        assert "stays" in output and "never changed" not in output


def test_firmware_lines_are_told_apart_when_there_are_several(path: Path) -> None:
    store = Store(path)
    for value in (784, 800):
        for name in ("plain.bin", "other.bin"):
            nightly(store, {"x": ("heap", value)}, build=1, name=name)
    store.close()
    output = narrow("history", "b", "--store", path)
    assert [line for line in output.splitlines() if "firmware line" in line] == [
        "firmware line other",
        "firmware line plain",
    ]


def test_history_names_flaky_scenarios(path: Path) -> None:
    store = Store(path)
    for outcome in (Outcome.PASS, Outcome.FAIL, Outcome.PASS):
        nightly(store, {"x": ("heap", 1)}, build=1, outcome=outcome)
    store.close()
    assert "flaky: reload: leaks: 1 of 3 results" in harness("history", "b", "--store", path).output


def test_text_of_a_board_cannot_drive_the_terminal(path: Path) -> None:
    store = Store(path)
    for value in ("\x1b[31mred", "[bold]x[/]"):
        nightly(store, {"\x1b]0;title\x07": ("state", value)}, build=1)
    store.close()
    for arguments in (("history", "b"), ("diff", 1, 2)):
        output = harness(*arguments, "--store", path).output
        assert "\x1b" not in output
        assert "\x07" not in output
        assert "[bold]x[/]" in output


def test_diff_ends_with_1_when_a_verdict_got_worse(path: Path) -> None:
    store = Store(path)
    for outcome in (Outcome.PASS, Outcome.FAIL, Outcome.PASS):
        nightly(store, {"x": ("heap", 1)}, build=1, outcome=outcome)
    store.close()
    assert harness("diff", 1, 2, "--store", path).exit_code == 1
    assert harness("diff", 2, 3, "--store", path).exit_code == 0
    same = harness("diff", 1, 3, "--store", path)
    assert (same.exit_code, same.output) == (0, "nothing changed beyond noise\n")
    assert harness("diff", 1, 9, "--store", path).exit_code == 2


def test_reading_a_store_that_is_not_there_makes_none(path: Path) -> None:
    for arguments in (("history", "b"), ("diff", 1, 2), ("store", "info"), ("store", "export")):
        result = harness(*arguments, "--store", path)
        assert result.exit_code == 2
        assert "there is no results store" in result.output
    assert not path.exists()


def test_export_import_and_merge_over_files(path: Path, tmp_path: Path) -> None:
    heaps(path, [1, 2]).close()
    file, other = tmp_path / "out.jsonl", tmp_path / "other.sqlite"
    assert harness("store", "export", file, "--store", path).exit_code == 0
    assert "new: 2 runs, 2 scenarios" in harness("store", "import", file, "--store", other).output
    assert "new: 0 runs, 0 scenarios" in harness("store", "merge", path, "--store", other).output
    info = harness("store", "info", "--store", other).output
    assert "2 runs of 1 boards: b" in info
    assert "2 scenarios, 2 measurements of 1 figures" in info
    printed = harness("store", "export", "--run", 2, "--store", path).output
    assert [json.loads(line)["type"] for line in printed.splitlines()] == ["store", "run", "board", "scenario"]


def test_an_import_of_something_else_is_told(path: Path, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\x00 nonsense\n")
    result = harness("store", "import", tmp_path / "x", "--store", path)
    assert result.exit_code == 2
    assert "line 1: is no JSON" in result.output
    assert harness("store", "import", tmp_path / "nothing", "--store", path).exit_code == 2


def test_bisect_names_the_first_bad_image(monkeypatch: pytest.MonkeyPatch) -> None:
    class Runs:
        bench = Path("boards.yaml")

        def __init__(self, *_arguments: object) -> None: ...

        def effect(self) -> Effect:
            return Effect(absolute=16.0, exact=True)

        def measure(self, index: int) -> Value:
            if index == 2:
                raise BenchFault("it does not boot")
            return 48 if index < 2 else 64

    monkeypatch.setattr(command, "ImageRuns", Runs)
    images = [f"fw{n}.bin" for n in range(6)]
    result = harness("bisect", "--board", "b", "--measurement", "x", "--repeats", 1, *images)
    assert result.exit_code == 0
    assert "first bad: fw3.bin (48 → 64), or one of these, which could not be judged: fw2.bin" in result.output


def test_bisect_looks_at_boards_and_images_before_it_runs_anything(tmp_path: Path) -> None:
    bench = tmp_path / "boards.yaml"
    bench.write_text(shipped_bench().read_text())
    with pytest.raises(UsageError, match="no board 'x'"):
        runner.ImageRuns(str(bench), "x", ["a"], "m", "", "")
    with pytest.raises(UsageError, match="no firmware variant 'nonsense'"):
        runner.ImageRuns(str(bench), "vesp32", ["healthy", "nonsense"], "m", "", "")
    (tmp_path / "own.bin").write_bytes(b"\xe9")
    bench.write_text(_REAL)
    with pytest.raises(UsageError, match="no firmware image"):
        runner.ImageRuns(str(bench), "real", [str(tmp_path / "no.bin")], "m", "", "")


_REAL = """
boards:
  - id: real
    chip: esp32
    runtime: micropython
    identity: {usb_serial: "0123"}
    firmware: {path: own.bin}
"""


def test_bisect_runs_a_real_board_with_each_image_in_the_place_of_its_own(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, images = tmp_path / "boards.yaml", [tmp_path / "a.bin", tmp_path / "b.bin"]
    bench.write_text(_REAL)
    for image in (*images, tmp_path / "own.bin"):
        image.write_bytes(b"\xe9")
    flashed = []

    def run_bench(request: RunRequest, _watch: object) -> int:
        (board,) = load_bench(request.bench_file).boards
        flashed.append((board.images[0].path, request.state))
        store = Store(request.store)
        run = nightly(store, {"x": ("heap", 48)}, build=1, board="real")
        store.close()
        return run

    monkeypatch.setattr(runner, "run_bench", run_bench)
    runs = runner.ImageRuns(str(bench), "real", [str(image) for image in images], "x", "", str(path))
    assert [runs.measure(index) for index in range(2)] == [48, 48]
    assert runs.kind == "heap"
    assert flashed == [(image, tmp_path / ".harness") for image in images]
    assert sorted(p.name for p in tmp_path.iterdir() if "bisect" in p.name) == []
    absent = runner.ImageRuns(str(bench), "real", [str(image) for image in images], "y", "", str(path))
    with pytest.raises(BenchFault, match="did not measure 'y': it measured x"):
        absent.measure(0)


def test_a_sparkline_has_the_newest_figures_and_letters_for_states() -> None:
    def entries(*values: Value) -> tuple[Entry, ...]:
        return tuple(Entry(1, 0.0, value, (), Outcome.PASS, "", "") for value in values)

    assert sparkline(entries(0, 1, 2, 7)) == "▁▂▃█"
    assert sparkline(entries(9, 9, 5, 5), width=2) == "▄▄"
    assert sparkline(entries("up", "down", "up")) == "aba"


_READER = """
import sys
from pathlib import Path
from harness.results.series import histories
from harness.inventory.load import load_bench
from harness.paths import shipped_bench
from harness.results.store import Store
store = Store(Path(sys.argv[1]))
print("open", flush=True)
last = 0
while last < 60:
    found = len(histories(store, "b", "x")[0].entries)
    assert found >= last, (found, last)
    last = found
"""


def test_readers_follow_while_a_writer_writes(path: Path) -> None:
    store = heaps(path, [1])
    readers = [
        subprocess.Popen([sys.executable, "-c", _READER, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [r.stdout.readline() for r in readers if r.stdout] == [b"open\n"] * 2
    for build in range(59):
        nightly(store, {"x": ("heap", 1)}, build=build)
    ends = [(reader.communicate(timeout=60)[1], reader.returncode) for reader in readers]
    assert ends == [(b"", 0)] * 2
