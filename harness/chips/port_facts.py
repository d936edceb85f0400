"""What a program can ask a port about itself, with the port's answer and the file of MicroPython that says so.

``python -m harness.chips.port_facts docs/port-facts.md`` makes the page; ``tests/virtual/test_port_facts.py`` asks a
running virtual board each question of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from harness import chips as known
from harness.chips.manners import Manners
from harness.chips.port import Port


def _refusal(call: str) -> str:
    return f"try:\n    print({call})\nexcept Exception as e:\n    print(type(e).__name__ + ':', e)"


@dataclass(frozen=True)
class PortFact:
    """``ask`` is a program that prints ``answer`` on a board whose flash was empty before this start."""

    title: str
    ask: str
    answer: str
    source: str


_OPEN = """try:
    open('/hx_root', 'w').close()
    os.remove('/hx_root')
    print('a file')
except OSError as e:
    import errno
    print(errno.errorcode[e.errno])"""
_FILE_COST = """def cost():
    before = gc.mem_alloc()
    file = open('boot.py', 'rb')
    return gc.mem_alloc() - before
cost()
gc.collect()
print(cost())"""
_CODE = "print([line.strip() for line in open('boot.py') if line.strip() and line[0] != '#'])"


def _code(manners: Manners) -> str:
    lines = dict(manners.first_files)["boot.py"].decode().split("\n")
    return repr([line.strip() for line in lines if line.strip() and line[0] != "#"])


def _pins(port: Port, manners: Manners) -> Iterable[tuple[str, str, str]]:
    numbers = manners.pin_numbers
    said = f"{numbers.into} {numbers.out} {numbers.open_drain} {numbers.pull_up}"
    yield "Pin's constants", "print(Pin.IN, Pin.OUT, Pin.OPEN_DRAIN, Pin.PULL_UP)", said
    yield "pulling down", "print(getattr(Pin, 'PULL_DOWN', None))", str(numbers.pull_down)
    if port.pin_ports:
        yield "a pin that is not there", _refusal("Pin('X99')"), "ValueError: Pin(X99) doesn't exist"
        yield "a pin by number", _refusal("Pin(4)"), "TypeError: can't convert 'int' object to str implicitly"
        shown = "Pin(Pin.cpu.C13, mode=Pin.IN, pull=Pin.PULL_UP)"
        yield "a pin, printed", "print(Pin('C13', Pin.IN, Pin.PULL_UP))", shown
        for name, pin in list((manners.board_pins or {}).items())[:40:13]:
            yield f"the board's {name}", f"print(str(Pin('{name}')).split(',')[0])", f"Pin(Pin.cpu.{pin}"
        with_p = "Pin(Pin.cpu.A0" if "PA0" in (manners.board_pins or {}) else "ValueError: Pin(PA0) doesn't exist"
        yield "the name PA0", _refusal("str(Pin('PA0')).split(',')[0]"), with_p
        return
    yield "a pin that is not there", _refusal("Pin(99)"), "ValueError: invalid pin"
    if manners.no_pins:
        yield "a gap in the numbers", _refusal(f"Pin({min(manners.no_pins)})"), "ValueError: invalid pin"
    yield "a pin by name", _refusal("Pin('4')"), "ValueError: invalid pin"
    yield "a pin, printed", "print(Pin(4, Pin.IN))", "Pin(4)"
    if manners.input_only_from:
        call = f"Pin({manners.input_only_from}, Pin.OUT)"
        yield "a pin that is input only", _refusal(call), "ValueError: pin can only be input"


def port_facts(port: Port) -> list[PortFact]:
    """All of them; empty where the port's manners are not known."""
    manners = port.manners
    if manners is None:
        return []
    source = manners.sources
    base = manners.files_at
    names = [name for name, _ in manners.first_files]
    frequency = repr((port.clock_hz, *manners.buses)) if manners.buses else str(port.clock_hz)
    kind = "NotImplementedError" if manners.frequency_fixed else "ValueError"
    rows: list[tuple[str, str, str, str]] = [
        ("sys.platform", "print(sys.platform)", manners.platform, "platform"),
        ("system and node of os.uname()", "print(os.uname()[:2])", repr((manners.platform,) * 2), "platform"),
        ("sys.implementation._build", "print(sys.implementation._build)", manners.build, "build"),
        ("sys.implementation._mpy", "print(sys.implementation._mpy)", str(manners.mpy), "arch"),
        ("its threads", "print(getattr(sys.implementation, '_thread', None))", manners.thread or "None", "thread"),
        ("the working directory", "print(os.getcwd())", base, "files_at"),
        ("what is mounted", "print([place for _, place in vfs.mount()])", repr([base]), "files_at"),
        ("what / holds", "print(os.listdir('/'))", repr(names if base == "/" else [base[1:]]), "files_at"),
        ("writing a file to /", _OPEN, "a file" if base == "/" else "ENODEV", "files_at"),
        ("sys.path without a ROMFS", "print(sys.path)", repr(["", ".frozen", *manners.path]), "path"),
        ("a new filesystem's files", "print(sorted(os.listdir()))", repr(sorted(names)), "first_files"),
        ("what boot.py does at first", _CODE, _code(manners), "first_files"),
        (f"heap of an open file ({manners.filesystem})", _FILE_COST, str(manners.open_file), "open_file"),
        ("machine.freq()", "print(machine.freq())", frequency, "frequency"),
        (
            "machine.freq(1000000)",
            _refusal("machine.freq(1000000)"),
            f"{kind}: {manners.frequency_refused}",
            "frequency",
        ),
    ]
    rows += [(title, ask, answer, "pins") for title, ask, answer in _pins(port, manners)]
    return [PortFact(title, ask, answer, source[key]) for title, ask, answer, key in rows]


def table(chips: Iterable[str]) -> str:
    """The facts of these chips in Markdown, one table for each."""
    lines = []
    for name in chips:
        port = known.CHIPS[name].port
        if port is None or port.manners is None:
            continue
        lines += [f"## {name}", "", "| asked | answer | source |", "|---|---|---|"]
        lines += [f"| {fact.title} | `{_cell(fact.answer)}` | {fact.source} |" for fact in port_facts(port)]
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


_HEAD = """# Port facts

What MicroPython's ports answer, and the virtual boards with them: each line is asked of a running virtual board
(`tests/virtual/test_port_facts.py`) whose flash was empty. The answers are those of the port's own board for the chip
(`sys.implementation._build`), by the files named, of MicroPython 1.29 (preview of 19 Aug 2026). Made by
`python -m harness.chips.port_facts docs/port-facts.md`; the data are `harness/chips/manners.py` and the chips' records.

Where the virtual boards differ is in [virtual-bench.md](virtual-bench.md#what-is-not).

"""


def page() -> str:
    return _HEAD + table(known.virtual_chips())


def main(write: Callable[[str], object] = print) -> None:
    if len(sys.argv) == 1:
        write(page())
    else:
        Path(sys.argv[1]).write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
