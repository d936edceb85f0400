"""Whether the wires that boards.yaml claims are there, where they should be, and alone.

The board itself finds out: one pin is driven for some microseconds, low and high in turn, while all other pins that the
file names are read. A pin that does not take the level it drives is held by something else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.bench.finding import Finding
from harness.chips import CHIPS
from harness.errors import BenchFault, FirmwareFailure, UsageError
from harness.inventory.model import Board
from harness.runtimes.interface import LAST_RECORD, Restart, RunResult

PinName = int | str


class Programmable(Protocol):
    """A VM that drives and reads its pins."""

    def run(self, source: str, *, timeout: float = 30.0) -> RunResult: ...


class Wired(Programmable, Protocol):
    """One whose chip may be reset by a wire."""

    def run_to_reset(self, source: str, *, within: float = 30.0) -> Restart: ...


#: Driven pins see other levels than their own from wires and shorts alone: inputs have pull-ups where they can.
_PROGRAM = """
import machine, time
P = machine.Pin
names = {names}
def release(name):
    try:
        return P(name, P.IN, P.PULL_UP)
    except (ValueError, AttributeError, TypeError):
        return P(name, P.IN)
pins = [release(name) for name in names]
for i in range(len(pins)):
    same = [1] * len(pins)
    own = ""
    try:
        for level in (0, 1, 0, 1, 1, 0):
            pins[i] = P(names[i], P.OUT, value=level)
            time.sleep_us(20)
            own += str(pins[i].value())
            for k in range(len(pins)):
                same[k] &= int(pins[k].value() == level)
    except (ValueError, OSError) as error:
        own = "-"
    pins[i] = release(names[i])
    print("wire", i, own, "".join(str(s) for s in same))
print("wires", len(pins))
"""
_LEVELS = "010110"
_LINE = re.compile(rb"wire (\d{1,3}) ([01-]{1,6}) ([01]{1,80})\r?\n")

_BUTTON = """
import machine, time
p = machine.Pin({pin!r}, machine.Pin.IN, machine.Pin.PULL_UP)
time.sleep_ms(2)
begin = time.ticks_ms()
while p.value() != {wanted} and time.ticks_diff(time.ticks_ms(), begin) < {milliseconds}:
    time.sleep_ms(5)
print("button", p.value())
"""
#: What the line did while it was set up is thrown away.
_UART = """
import time
from machine import UART
uart = UART({number}, 115200, {pins}timeout=50, timeout_char=20)
time.sleep_ms(5)
while uart.any():
    uart.read(uart.any())
uart.write({sent!r})
print("uart", uart.read({size}))
uart.deinit()
"""
_UART_SENT = b"harness\x55\xaa"
#: GPIO16 low is the reset input low, if they are connected. The record comes first: the chip may be gone at once.
_RESET_BY_16 = f"""
import machine, time
print("\\x02" + {LAST_RECORD.decode()!r} + "\\x03")
time.sleep_ms(100)
machine.Pin(16, machine.Pin.OUT, value=0)
time.sleep_ms(300)
machine.Pin(16, machine.Pin.IN)
"""


@dataclass(frozen=True)
class Survey:
    """What one board said of its pins.

    ``follows[a]`` are the pins that took every level that ``a`` drove. ``held`` are pins that do not take the level
    they drive: ``low``, ``high``, ``both`` (neither level comes out), ``input`` (the pin cannot drive).
    """

    pins: tuple[PinName, ...]
    follows: Mapping[PinName, frozenset[PinName]]
    held: Mapping[PinName, str]


def survey(runtime: Programmable, pins: Sequence[PinName]) -> Survey:
    """Drive and read ``pins``. Raises BenchFault when the answer is not understood."""
    result = runtime.run(_PROGRAM.format(names=repr(tuple(pins)) if pins else "()"), timeout=30)
    lines = _LINE.findall(result.stdout)
    whole = f"wires {len(pins)}".encode() in result.stdout and [int(n) for n, _, _ in lines] == list(range(len(pins)))
    if result.stderr or not whole or any(len(same) != len(pins) for _, _, same in lines):
        came = (result.stderr or result.stdout)[-300:].decode("utf-8", "backslashreplace").strip()
        raise BenchFault(f"the board did not say how its pins are: {came!r}", hint="has it all pins of 'wiring'?")
    follows: dict[PinName, frozenset[PinName]] = {}
    held: dict[PinName, str] = {}
    for pin, (_, own, same) in zip(pins, lines, strict=True):
        own_levels = own.decode("ascii")
        if own_levels != _LEVELS:
            held[pin] = {"-": "input", "000000": "low", "111111": "high"}.get(own_levels, "both")
        took = zip(pins, same.decode("ascii"), strict=True)
        follows[pin] = frozenset(other for other, bit in took if bit == "1" and other != pin and pin not in held)
    return Survey(tuple(pins), follows, held)


def judge(board: Board, seen: Survey) -> Iterator[Finding]:
    """What is right and wrong with the loopbacks of ``board``."""
    loopback = board.wiring.loopback
    nets = _nets(loopback)
    told: set[frozenset[PinName]] = set()
    for out, into in loopback:
        if into in seen.follows[out]:
            yield Finding("wiring", "ok", f"pin {out} drives pin {into}")
        elif why := _held(seen.held.get(out), out, into):
            hint = f"write [{into}, {out}]" if out in seen.follows[into] else why[1]
            yield Finding("wiring", "problem", why[0], hint)
        elif others := sorted(seen.follows[out] - nets[out], key=str):
            told |= {frozenset((out, other)) for other in others}
            yield Finding(
                "wiring",
                "problem",
                f"pin {out} drives {_spell(others)} and not pin {into}: swapped",
                f"move that end of the wire to pin {into}, or write {[out, others[0]]} in boards.yaml",
            )
        elif seen.held.get(into) in ("low", "high"):
            yield Finding(
                "wiring",
                "problem",
                f"pin {into} stays {seen.held[into]} when pin {out} is driven",
                f"is pin {into} shorted to {'ground' if seen.held[into] == 'low' else 'the supply'}?",
            )
        else:
            yield Finding(
                "wiring",
                "problem",
                f"pin {out} does not reach pin {into}: the wire is missing, or ends at a pin that is not in the file",
                f"connect pin {out} with pin {into}",
            )
    for a in seen.pins:
        for b in sorted(seen.follows[a] - nets.get(a, set()), key=str):
            pair = frozenset((a, b))
            if pair not in told:
                told.add(pair)
                yield Finding(
                    "wiring",
                    "problem",
                    f"pins {a} and {b} are connected, and boards.yaml does not say so: shorted",
                    "look for a wire or a solder bridge between them",
                )


def _held(how: str | None, out: PinName, into: PinName) -> tuple[str, str] | None:
    if how is None:
        return None
    if how == "input":
        return f"pin {out} can only be read, so that it cannot drive pin {into}", "choose another output pin"
    if how == "both":
        return f"pin {out} does not show the level that it drives", "is it used by the chip itself (flash, PSRAM, USB)?"
    place = "ground" if how == "low" else "the supply"
    return f"pin {out} stays {how} whatever it drives: shorted to {place}", "take that wire away before anything else"


def _nets(loopback: Sequence[tuple[PinName, PinName]]) -> dict[PinName, set[PinName]]:
    nets: dict[PinName, set[PinName]] = {}
    for a, b in loopback:
        joined = nets.get(a, {a}) | nets.get(b, {b})
        for pin in joined:
            nets[pin] = joined
    return nets


def _spell(pins: Sequence[PinName]) -> str:
    return " and ".join(f"pin {pin}" for pin in pins)


def check_button(
    runtime: Programmable, pin: PinName, press: Callable[[bool], None] | None, *, within: float
) -> Finding:
    """Released it must read high; ``press`` presses and releases it, or asks a person to; None: nobody does.

    A person gets ``within`` seconds.
    """

    def reads(wanted: int, seconds: float) -> bool:
        program = _BUTTON.format(pin=pin, wanted=wanted, milliseconds=round(seconds * 1000))
        return f"button {wanted}".encode() in runtime.run(program, timeout=seconds + 10).stdout

    if not reads(1, 0.2):
        return Finding(
            "wiring",
            "problem",
            f"the button at pin {pin} reads pressed",
            "let it go; is the pin shorted to ground, or the button one that closes to the supply?",
        )
    if press is None:
        return Finding(
            "wiring", "note", f"the button at pin {pin} reads released; whether it works is not known", "give --press"
        )
    press(True)
    try:
        pressed = reads(0, within)
    finally:
        press(False)
    if not pressed:
        return Finding(
            "wiring", "problem", f"the button at pin {pin} was not seen pressed in {within:g} s", "is it at that pin?"
        )
    return Finding("wiring", "ok", f"the button at pin {pin} pulls it low")


def check_uart(runtime: Programmable, board: Board) -> Finding:
    """What the UART sends out of its TX must come in at its RX."""
    number, loopback = board.wiring.uart, board.wiring.loopback
    pins = ""
    if CHIPS[board.chip].family == "esp32" and loopback:  # where a program chooses the pins
        pins = f"tx={loopback[0][0]!r}, rx={loopback[0][1]!r}, "
    program = _UART.format(number=number, pins=pins, sent=_UART_SENT, size=len(_UART_SENT))
    result = runtime.run(program)
    if f"uart {_UART_SENT!r}".encode() in result.stdout:
        return Finding("wiring", "ok", f"UART {number} hears what it sends")
    if result.stderr:
        why = result.stderr.decode("utf-8", "backslashreplace").strip().splitlines()[-1]
        return Finding("wiring", "problem", f"UART {number} cannot be used: {why[:200]}", "is it one of this board's?")
    what = "hears nothing" if b"uart None" in result.stdout else "does not hear what it sends"
    return Finding("wiring", "problem", f"UART {number} {what}", "connect its TX with its RX, and nothing else")


def check_gpio16(runtime: Wired) -> Finding:
    """ESP8266: GPIO16 driven low must reset the chip, or no deep sleep ever ends (ESP8266 datasheet, "Deep-sleep")."""
    try:
        runtime.run_to_reset(_RESET_BY_16, within=10)
    except FirmwareFailure:
        return Finding(
            "wiring", "problem", "GPIO16 does not reset the chip: no wire to RST", "connect GPIO16 (D0) with RST"
        )
    return Finding("wiring", "ok", "GPIO16 resets the chip")


def check_wiring(
    board: Board, runtime: Wired, press: Callable[[bool], None] | None = None, *, within: float = 15.0
) -> list[Finding]:
    """All that can be found out about the wiring of ``board``.

    Raises UsageError when boards.yaml claims nothing, BenchFault when the board does not say what its pins do.
    """
    wiring = board.wiring
    if not (wiring.loopback or wiring.uart is not None or wiring.button is not None or wiring.gpio16_rst):
        raise UsageError(
            f"board {board.id!r}: boards.yaml claims no wiring", hint="say what is connected, under 'wiring'"
        )
    findings: list[Finding] = []
    if wiring.loopback:
        pins = list(dict.fromkeys(pin for pair in wiring.loopback for pin in pair))
        findings += judge(board, survey(runtime, pins))
    if wiring.uart is not None:
        findings.append(check_uart(runtime, board))
    if wiring.button is not None:
        findings.append(check_button(runtime, wiring.button, press, within=within))
    if wiring.gpio16_rst:
        findings.append(check_gpio16(runtime))
    return findings
