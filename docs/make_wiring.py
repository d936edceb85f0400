"""Make docs/wiring-*.md and their drawings, docs/pictures/wiring-*.svg: ``python docs/make_wiring.py [FOLDER]``.

Which scenarios need a wire is read from the suites. The rows of pins are in the order of the makers' documents (see
``harness/chips/silk.py``); the drawings are no pictures of the boards, and not to scale.
"""

from __future__ import annotations

import ast
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

HERE = Path(__file__).resolve().parent
SUITES = HERE.parent / "suites"
PITCH, ROW, MARGIN, BOARD, PAD = 22, 110, 66, 190, 14
COLOURS = {"loopback": "#c2410c", "gpio16_rst": "#1d4ed8", "uart": "#c2410c", "button": "#15803d"}
#: What of ``wiring`` a scenario asks for by a capability, where it does not read it itself.
BY_CAPABILITY = {"pin_loopback": "loopback"}


@dataclass(frozen=True)
class Wire:
    """``kind`` is a key of ``wiring``; ``ends`` are two labels in the rows, ``yaml`` is what boards.yaml says."""

    kind: str
    ends: tuple[str, str]
    yaml: str


@dataclass(frozen=True)
class Drawn:
    """A board: the labels of its two rows from the top, at which end its USB is ("": left open), and what is connected.

    A label that stands twice is given with a dot and a number, which is not drawn.
    """

    name: str
    title: str
    left: tuple[str, ...]
    right: tuple[str, ...]
    wires: tuple[Wire, ...]
    notes: tuple[str, ...] = ()
    usb: str = "bottom"


@dataclass(frozen=True)
class Family:
    """A page."""

    name: str
    title: str
    lead: str
    boards: tuple[Drawn, ...]
    rest: str
    runtimes: tuple[str, ...] = ("micropython", "circuitpython")


@dataclass(frozen=True)
class Asked:
    """A scenario that needs a wire; ``runtime`` is the one that it is for."""

    runtime: str
    suite: str
    name: str


def _row(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NODEMCU = Drawn(
    "nodemcu",
    "NodeMCU DevKit V1.0 (ESP8266)",
    _row("A0 RSV RSV.2 SD3 SD2 SD1 CMD SD0 CLK GND 3V3 EN RST GND.2 VIN"),
    _row("D0 D1 D2 D3 D4 3V3.2 GND.3 D5 D6 D7 D8 RX TX GND.4 3V3.3"),
    (
        Wire("loopback", ("D2", "D1"), "loopback: [[4, 5]]"),
        Wire("gpio16_rst", ("D0", "RST"), "gpio16_rst: true"),
    ),
    ("A D1 mini has the same names in another order.", "Without D0 at RST only a reset ends deep sleep."),
)
DEVKIT = Drawn(
    "esp32-devkit",
    "ESP32-DevKitC V4",
    _row("3V3 EN VP VN IO34 IO35 IO32 IO33 IO25 IO26 IO27 IO14 IO12 GND IO13 D2 D3 CMD 5V"),
    _row("GND.2 IO23 IO22 TX RX IO21 GND.3 IO19 IO18 IO5 IO17 IO16 IO4 IO0 IO2 IO15 D1 D0 CLK"),
    (Wire("loopback", ("IO18", "IO19"), "loopback: [[18, 19]]"), Wire("uart", ("IO18", "IO19"), "uart: 1")),
    ("The same wire is UART 1's: a program sets its TX to 18 and its RX to 19.",),
)
FEATHER = Drawn(
    "feather-esp32-v2",
    "Feather ESP32 V2",
    _row("RST 3V NC GND A0 A1 A2 A3 A4 A5 SCK MO MI RX TX 37"),
    _row("BAT EN USB 13 12 27 33 15 32 14 SCL SDA"),
    (Wire("loopback", ("14", "32"), "loopback: [[14, 32]]"),),
    ("A HUZZAH32 has 14 and 32 at the same places.",),
)
S3 = Drawn(
    "esp32-s3-devkit",
    "ESP32-S3-DevKitC-1",
    _row("3V3 3V3.2 RST 4 5 6 7 15 16 17 18 8 3 46 9 10 11 12 13 14 5V G"),
    _row("G.2 TX RX 1 2 42 41 40 39 38 37 36 35 0 45 48 47 21 20 19 G.3 G.4"),
    (Wire("loopback", ("4", "5"), "loopback: [[4, 5]]"), Wire("uart", ("4", "5"), "uart: 1")),
    ("19 and 20 are its USB; 35 to 37 are taken by octal PSRAM.",),
)
C3 = Drawn(
    "esp32-c3-devkit",
    "ESP32-C3-DevKitM-1",
    _row("G 3V3 3V3.2 2 3 G.2 RST G.3 0 1 10 G.4 5V 5V.2 G.5"),
    _row("G.6 TX RX G.7 9 8 G.8 7 6 5 4 G.9 18 19 G.10"),
    (Wire("loopback", ("4", "5"), "loopback: [[4, 5]]"), Wire("uart", ("4", "5"), "uart: 1")),
    ("18 and 19 are its USB; 9 is the boot strap, and 8 must be high for the boot loader.",),
)
PYBOARD = Drawn(
    "pyboard",
    "pyboard v1.1 (STM32F405), by name",
    _row("X1 X2 X3 X4 X5 X6 X7 X8 X9 X10 X11 X12 RST GND"),
    _row("Y1 Y2 Y3 Y4 Y5 Y6 Y7 Y8 Y9 Y10 Y11 Y12 3V3 VIN"),
    (Wire("loopback", ("X1", "X2"), "loopback: [[A0, A1]]"), Wire("uart", ("X1", "X2"), "uart: 4")),
    ("X1 and X2 are UART 4's TX and RX as well: one wire does for both.",),
    usb="",
)
NUCLEO = Drawn(
    "nucleo-64",
    "Nucleo-64 (STM32L476 and its kin), Arduino connectors",
    _row("NC IOREF NRST 3V3 5V GND GND.2 VIN A0 A1 A2 A3 A4 A5"),
    _row("D15 D14 AVDD GND.3 D13 D12 D11 D10 D9 D8 D7 D6 D5 D4 D3 D2 D1 D0"),
    (Wire("loopback", ("D7", "D8"), "loopback: [[PA8, PA9]]"),),
    ("D7 is PA8 (morpho CN10-23), D8 is PA9 (CN10-21).", "The blue button is PC13 (CN7-23): button: PC13, no wire."),
    usb="top",
)

FAMILIES = (
    Family(
        "esp8266",
        "Wiring an ESP8266",
        "Flashing and resets need the USB cable alone: the adapter's DTR and RTS reach the chip.",
        (NODEMCU,),
        "A bare module (ESP-12 and the like) wants besides: 3.3 V with 300 mA, GPIO15 to ground, EN to 3.3 V; "
        "the adapter's TX to RX and RX to TX, RTS to RST and DTR to GPIO0 through the two transistors of a "
        "NodeMCU. Without them `flash: {before: manual}` has a person press the buttons "
        "([first-contact.md](first-contact.md)).",
        ("micropython", "nodemcu"),
    ),
    Family(
        "esp32",
        "Wiring an ESP32 and its younger siblings",
        "Flashing and resets need the USB cable alone: by DTR and RTS of the adapter, or by the chip's own USB.",
        (DEVKIT, FEATHER, S3, C3),
        "Any two free pins do, if boards.yaml names them; not those of the flash (ESP32: 6 to 11), of the "
        "PSRAM (16 and 17 on WROVER modules), of the straps (0, 2, 5, 12, 15) or inputs alone (34 to 39) as "
        "an output. A chip that is not drawn here (C6, H2, C5, P4) is wired in the same way. An adapter "
        "without auto-reset wants RTS at EN and DTR at the boot strap through two transistors.",
    ),
    Family(
        "stm32",
        "Wiring an STM32",
        "A Nucleo is flashed by its debug probe (`flash: {method: swd}`), a pyboard by its own USB (`method: dfu`): no "
        "wires.",
        (PYBOARD, NUCLEO),
        "For `method: stm32-uart` the adapter's TX goes to the boot loader's RX (PA10 on most chips), its RX "
        "to TX (PA9), DTR to NRST and RTS to BOOT0 ([stm32-boards.md](stm32-boards.md)); then choose other "
        "pins than PA9 and PA10 for the loopback.",
    ),
)


def needs(suites: Path = SUITES) -> dict[str, list[Asked]]:
    """Which scenarios ask for what of ``wiring``: by a capability, or by reading it."""
    found: dict[str, list[Asked]] = {}
    for file in sorted(suites.glob("*/test_*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        of_all = [node.value for node in tree.body if isinstance(node, ast.Assign) and _is_mark(node)]
        functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        for name, function in functions.items():
            if not name.startswith("test_"):
                continue
            kinds = _read(function) | {
                kind for called in _calls(function) & set(functions) for kind in _read(functions[called])
            }
            marks = [*function.decorator_list, *of_all]
            for mark in _arguments(marks, "needs"):
                kinds |= {BY_CAPABILITY[mark]} if mark in BY_CAPABILITY else set()
                kinds |= {"gpio16_rst"} if mark == "deep_sleep" else set()
            runtime = next(iter(_arguments(marks, "runtime")), "micropython")
            for kind in sorted(kinds):
                title = name.removeprefix("test_").replace("_", " ")
                found.setdefault(kind, []).append(Asked(runtime, file.parent.name, title))
    return found


def _read(function: ast.FunctionDef) -> set[str]:
    """The keys of ``….wiring.KEY`` in it."""
    return {
        node.attr
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and node.value.attr == "wiring"
    }


def _calls(function: ast.FunctionDef) -> set[str]:
    return {n.func.id for n in ast.walk(function) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}


def _is_mark(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets)


def _arguments(marks: Sequence[ast.expr], wanted: str) -> list[str]:
    """The texts in ``pytest.mark.wanted(…)`` among ``marks``, or in lists of them."""
    each = [one for mark in marks for one in (mark.elts if isinstance(mark, ast.List) else [mark])]
    return [
        argument.value
        for mark in each
        if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Attribute) and mark.func.attr == wanted
        for argument in mark.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]


# -- drawing -------------------------------------------------------------------------------------------


def svg(board: Drawn) -> str:
    """The drawing. Text keeps its colour on a dark page, for the picture has a ground of its own."""
    rows = max(len(board.left), len(board.right))
    legend = [wire for wire in board.wires if wire is _first(board, wire.ends)]
    height = MARGIN + rows * PITCH + 40 + 24 * len(board.wires) + 20 * len(board.notes) + 10
    x, top = 150, MARGIN - 16
    width = x * 2 + BOARD
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="DejaVu Sans, Verdana, sans-serif" font-size="12">',
        f"<title>{escape(board.title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{width / 2}" y="24" text-anchor="middle" font-size="15" font-weight="bold" fill="#111">'
        f"{escape(board.title)}</text>",
        f'<rect x="{x}" y="{top}" width="{BOARD}" height="{rows * PITCH + 22}" rx="8" fill="#e7efe9" '
        'stroke="#44564a"/>',
    ]
    if board.usb:
        at = top - 9 if board.usb == "top" else top + rows * PITCH + 12
        out += [
            f'<rect x="{x + BOARD / 2 - 22}" y="{at}" width="44" height="18" rx="3" fill="#9aa5b1" stroke="#44564a"/>',
            f'<text x="{x + BOARD / 2}" y="{at + 13}" text-anchor="middle" font-size="11" fill="#111">USB</text>',
        ]
    places: dict[str, tuple[float, float, int]] = {}
    used = {end for wire in board.wires for end in wire.ends}
    for side, labels in ((-1, board.left), (1, board.right)):
        for n, label in enumerate(labels):
            px, py = (x + PAD if side < 0 else x + BOARD - PAD), MARGIN + n * PITCH
            places[label] = (px, py, side)
            bold = ' font-weight="bold"' if label in used else ""
            fill = "#facc15" if label in used else "#d7dde3"
            out.append(f'<circle cx="{px}" cy="{py}" r="5" fill="{fill}" stroke="#333"/>')
            out.append(
                f'<text x="{px + side * 22}" y="{py + 4}" text-anchor="{"end" if side < 0 else "start"}" '
                f'fill="#111"{bold}>'
                f"{escape(label.partition('.')[0])}</text>"
            )
    for n, wire in enumerate(legend):
        out.append(_curve(places[wire.ends[0]], places[wire.ends[1]], COLOURS[wire.kind], n, x))
    y = MARGIN + rows * PITCH + 46
    for wire in board.wires:
        a, b = (end.partition(".")[0] for end in wire.ends)
        out.append(
            f'<line x1="24" y1="{y - 4}" x2="52" y2="{y - 4}" stroke="{COLOURS[wire.kind]}" stroke-width="4"/>'
            f'<text x="62" y="{y}" fill="#111">{escape(a)} with {escape(b)}: {escape(wire.yaml)}</text>'
        )
        y += 24
    for note in board.notes:
        out.append(f'<text x="24" y="{y}" font-size="10.5" fill="#444">{escape(note)}</text>')
        y += 20
    return "\n".join([*out, "</svg>"]) + "\n"


def _first(board: Drawn, ends: tuple[str, str]) -> Wire:
    """Two entries of boards.yaml can be one wire."""
    return next(wire for wire in board.wires if wire.ends == ends)


def _curve(start: tuple[float, float, int], end: tuple[float, float, int], colour: str, n: int, x: float) -> str:
    """Over the board, which has no words on it."""
    (ax, ay, side), (bx, by, other) = start, end
    if side == other:
        out = ax - side * (42 + 22 * n)
        path = f"M{ax},{ay} C{out},{ay} {out},{by} {bx},{by}"
    else:
        middle = x + BOARD / 2
        path = f"M{ax},{ay} C{middle},{ay} {middle},{by} {bx},{by}"
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="4" stroke-linecap="round" opacity="0.85"/>'


# -- pages ---------------------------------------------------------------------------------------------

_WHAT = {
    "loopback": "two pins with each other, so that a program causes its own interrupts",
    "uart": "a UART's TX with its own RX",
    "gpio16_rst": "GPIO16 with RST, so that deep sleep ends",
    "button": "a button from a pin to ground; for `harness wiring --press` alone",
}


_ABOUT = (
    "What is wired is said under `wiring` in boards.yaml; `harness wiring BOARD` tries it, and names pins as they are "
    "printed on the board (`wiring.labels` says which board it is). This page and its drawings are made by `python "
    "docs/make_wiring.py`."
)


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 118, break_long_words=False, break_on_hyphens=False)


def page(family: Family, asked: dict[str, list[Asked]]) -> str:
    kinds = list(dict.fromkeys([wire.kind for board in family.boards for wire in board.wires] + ["button"]))
    lines = [
        f"# {family.title}",
        "",
        _paragraph(family.lead),
        _paragraph(_ABOUT),
        "",
    ]
    for board in family.boards:
        lines += [f"![{board.title}](pictures/wiring-{board.name}.svg)", ""]
    lines += ["| `wiring` | what is connected | scenarios that need it |", "|---|---|---|"]
    lines += [f"| `{kind}` | {_WHAT[kind]} | {_scenarios(asked.get(kind, []), family)} |" for kind in kinds]
    return "\n".join([*lines, "", _paragraph(family.rest), ""])


def _scenarios(asked: list[Asked], family: Family) -> str:
    by_suite: dict[str, list[str]] = {}
    for one in asked:
        if one.runtime in family.runtimes:
            by_suite.setdefault(one.suite, []).append(one.name)
    return "<br>".join(f"*{suite}:* {', '.join(dict.fromkeys(rest))}" for suite, rest in by_suite.items()) or "none"


def made() -> dict[str, str]:
    """Every file by its path below docs/."""
    asked = needs()
    files = {f"wiring-{family.name}.md": page(family, asked) for family in FAMILIES}
    return files | {f"pictures/wiring-{board.name}.svg": svg(board) for family in FAMILIES for board in family.boards}


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    for name, text in made().items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
