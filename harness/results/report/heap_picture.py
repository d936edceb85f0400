"""Pictures of a heap map: on the terminal, and as SVG for a page.

A cell stands for as many blocks as it takes to fit the map; how full it is decides its shade, so a cell that is
drawn empty has no used block in it, and one that is drawn full no free one. The largest free run is marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from harness.reference.engine.heap_map import BLOCK, FREE, HeapMap
from harness.shown import plain

#: Shades of a cell, from no used block to no free one. LARGEST: no used block, and in the largest free run.
EMPTY, SOME, MUCH, FULL, LARGEST = range(5)
_CHARACTERS = "·░▒█-"
_ASCII = ".:+#-"
_STYLES = ("dim", "cyan", "cyan", "bold cyan", "green")
_MEANINGS = ("free", "up to half used", "more than half used", "used", "largest free run")
_ROWS = 16
_SVG_COLUMNS = 96
_SVG_ROWS = 24


@dataclass(frozen=True)
class Cells:
    """``shades`` of the cells in the order of their addresses, and how many blocks one stands for."""

    shades: tuple[int, ...]
    blocks_per_cell: int


def cells_of(heap: HeapMap, at_most: int) -> Cells:
    """The map in ``at_most`` cells or fewer; a cell is a power of two of blocks, the last one may be shorter."""
    count = 1
    while -(-len(heap.blocks) // count) > max(1, at_most):
        count *= 2
    start, end = _largest_run(heap)
    shades = []
    for at in range(0, len(heap.blocks), count):
        part = heap.blocks[at : at + count]
        used = len(part) - part.count(FREE)
        if used == 0:
            shades.append(LARGEST if start < at + len(part) and at < end else EMPTY)
        elif used == len(part):
            shades.append(FULL)
        else:
            shades.append(SOME if 2 * used <= len(part) else MUCH)
    return Cells(tuple(shades), count)


def _largest_run(heap: HeapMap) -> tuple[int, int]:
    """First block of the largest free run, and the one after its last; the first such run when some are equal."""
    best, at = (0, 0), 0
    for kind, run in groupby(heap.blocks):
        length = len(list(run))
        if kind == FREE and length > best[1] - best[0]:
            best = (at, at + length)
        at += length
    return best


def figures(heap: HeapMap) -> str:
    """One line: what is used and free, the largest free run, and the fragmentation."""
    share = 100 * heap.used / heap.total if heap.total else 0.0
    return (
        f"{heap.used} B used of {heap.total} B ({share:.1f} %), {heap.free} B free, "
        f"largest free run {heap.largest_free} B, fragmentation {100 * heap.fragmentation:.1f} %"
    )


def _scale(blocks_per_cell: int) -> str:
    blocks = "1 block" if blocks_per_cell == 1 else f"{blocks_per_cell} blocks"
    return f"one cell: {blocks} of {BLOCK} B = {blocks_per_cell * BLOCK} B"


def _meanings(cells: Cells) -> list[tuple[int, str]]:
    """The shades that can occur: one block is never partly used, and one of two is half."""
    never = {1: (SOME, MUCH), 2: (MUCH,)}.get(cells.blocks_per_cell, ())
    return [(shade, text) for shade, text in enumerate(_MEANINGS) if shade not in never]


def _common(maps: Sequence[tuple[str, HeapMap]], at_most: int) -> list[Cells]:
    """All maps at the scale of the largest, so that they compare."""
    largest = max((heap for _, heap in maps), key=lambda heap: len(heap.blocks))
    count = cells_of(largest, at_most).blocks_per_cell
    return [cells_of(heap, -(-len(heap.blocks) // count)) for _, heap in maps]


# -- terminal ------------------------------------------------------------------------------------


class HeapPicture:
    """For ``rich``: one or more maps with their titles, as wide as the console, at most 16 rows each."""

    def __init__(self, maps: Sequence[tuple[str, HeapMap]]) -> None:
        if not maps:
            raise ValueError("a heap picture needs a heap map")
        self._maps = maps

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        characters = _ASCII if options.ascii_only else _CHARACTERS
        prefix = len(_address(self._maps[0][1].pool)) + 1
        width = max(8, min(options.max_width, 120) - prefix)
        columns = 1 << (width.bit_length() - 1)
        columns += columns // 2 if columns * 3 // 2 <= width else 0  # row addresses stay round figures
        drawn = _common(self._maps, columns * _ROWS)
        for (title, heap), cells in zip(self._maps, drawn, strict=True):
            yield Text(plain(title, 200), style="bold")
            for at in range(0, len(cells.shades), columns):
                yield Segment(_address(heap.pool + at * cells.blocks_per_cell * BLOCK) + " ", Style.parse("dim"))
                for shade, run in groupby(cells.shades[at : at + columns]):
                    yield Segment(characters[shade] * len(list(run)), Style.parse(_STYLES[shade]))
                yield Segment.line()
            yield Text(figures(heap))
        legend = Text(_scale(drawn[0].blocks_per_cell), style="dim")
        for shade, meaning in _meanings(drawn[0]):
            legend.append("  ").append(characters[shade], style=_STYLES[shade]).append(f" {meaning}")
        yield legend


def _address(address: int) -> str:
    return f"{address:08x}"


# -- SVG -----------------------------------------------------------------------------------------

_CELL = 8
_MARGIN = 12
_LABEL = 70
_LINE = 18
_WIDTH = 2 * _MARGIN + _LABEL + _SVG_COLUMNS * _CELL
# The colours differ in lightness as well, so that the picture is readable without seeing colour, or printed grey.
_SVG_STYLE = """
.heap-map { --paper: #ffffff; --ink: #1c2430; --faint: #5b6675; --c0: #e3e7ec; --c1: #9cc3e6; --c2: #4f8fcb;
  --c3: #123f73; --c4: #bfe3c0; font: 12px system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { .heap-map { --paper: #14181e; --ink: #e6eaf0; --faint: #9aa5b4; --c0: #2b323c;
  --c1: #2f5f8c; --c2: #5b9bd8; --c3: #b9dcff; --c4: #2f6b3c; } }
.heap-map .paper { fill: var(--paper); } .heap-map text { fill: var(--ink); } .heap-map .faint { fill: var(--faint); }
.heap-map .title { font-weight: 600; font-size: 14px; } .heap-map .address { font: 10px ui-monospace, monospace; }
.heap-map .c0 { fill: var(--c0); } .heap-map .c1 { fill: var(--c1); } .heap-map .c2 { fill: var(--c2); }
.heap-map .c3 { fill: var(--c3); } .heap-map .c4 { fill: var(--c4); }
"""


def heap_svg(maps: Sequence[tuple[str, HeapMap]], *, title: str = "Heap map") -> str:
    """A self-contained SVG document of the maps, one below the other, at one scale.

    It has no script and loads nothing; it follows the reader's light or dark colour scheme. Titles may hold any
    text. Raises ValueError when there is no map.
    """
    if not maps:
        raise ValueError("a heap picture needs a heap map")
    drawn = _common(maps, _SVG_COLUMNS * _SVG_ROWS)
    body: list[str] = []
    y = _MARGIN + _LINE
    body.append(_text(_MARGIN, y, title, "title"))
    for (name, heap), cells in zip(maps, drawn, strict=True):
        y += _LINE + 6
        body.append(_text(_MARGIN, y, name, "title"))
        y += _LINE
        body.append(_text(_MARGIN, y, figures(heap)))
        y += 10
        for at in range(0, len(cells.shades), _SVG_COLUMNS):
            if at // _SVG_COLUMNS % 2 == 0:  # a label at every row would touch the next
                address = heap.pool + at * cells.blocks_per_cell * BLOCK
                body.append(_text(_MARGIN, y + _CELL, f"0x{_address(address)}", "address faint"))
            body.extend(_row(cells.shades[at : at + _SVG_COLUMNS], y))
            y += _CELL + 1
    y += _LINE
    x = _MARGIN
    for shade, meaning in _meanings(drawn[0]):
        body.append(f'<rect class="c{shade}" x="{x}" y="{y - 10}" width="11" height="11"/>')
        body.append(_text(x + 16, y, meaning))
        x += 30 + 7 * len(meaning)
    y += _LINE
    body.append(_text(_MARGIN, y, _scale(drawn[0].blocks_per_cell), "faint"))
    height = y + _MARGIN
    summary = "; ".join(f"{name}: {figures(heap)}" for name, heap in maps)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="heap-map" role="img" viewBox="0 0 {_WIDTH} {height}" '
        f'width="100%" style="max-width: {_WIDTH}px">\n<title>{_clean(title)}</title>\n'
        f"<desc>{_clean(summary)}</desc>\n<style>{_SVG_STYLE}</style>\n"
        f'<rect class="paper" width="{_WIDTH}" height="{height}" rx="6"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _row(shades: Sequence[int], y: int) -> list[str]:
    """One rectangle for each run of equal cells."""
    rectangles, at = [], 0
    for shade, run in groupby(shades):
        count = len(list(run))
        x = _MARGIN + _LABEL + at * _CELL
        rectangles.append(f'<rect class="c{shade}" x="{x}" y="{y}" width="{count * _CELL}" height="{_CELL}"/>')
        at += count
    return rectangles


def _text(x: int, y: int, text: str, style: str = "") -> str:
    mark = f' class="{style}"' if style else ""
    return f'<text{mark} x="{x}" y="{y}">{_clean(text)}</text>'


def _clean(text: str) -> str:
    return escape(plain(text, 300))
