"""Pins, the wires between them, and what drives them from outside.

Pins that are wired together are one net with one level: low when anything drives it low, else high when
anything drives it high, else what a pull resistor says, else low.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.chips import Port
from harness.errors import UsageError

IN, OUT, OPEN_DRAIN = 0, 1, 2
PULL_UP = 1
RISING, FALLING, LOW, HIGH = 1, 2, 4, 5
#: The chip's reset input, as a name to wire a pin to.
RESET_PIN = "RST"

PinName = int | str


@dataclass
class Pin:
    """One pin of the chip. ``level`` is what was last seen on it; ``trigger`` 0 means no interrupt."""

    name: str
    mode: int = IN
    output: int = 0
    pull: int = 0
    level: int = 0
    trigger: int = 0
    hard: bool = False
    wakes: bool = False
    slot: int = -1
    flags: int = 0

    def fires_at(self, level: int) -> bool:
        """Whether a change to ``level`` is what the trigger asks for; a level trigger fires once."""
        if self.trigger in (LOW, HIGH):
            return level == (self.trigger == HIGH)
        return bool(self.trigger & (RISING if level else FALLING))

    def reset(self, *, soft: bool) -> None:
        """What a reset does to it: its level stays, and after a soft reset its mode and output too."""
        fresh = Pin(self.name, level=self.level)
        if soft:
            fresh.mode, fresh.output, fresh.pull = self.mode, self.output, self.pull
        self.__dict__.update(fresh.__dict__)


class Pins:
    """The pins of one chip. ``edge`` is called for each pin whose level changed, after all have changed."""

    def __init__(self, chip: Port, edge: Callable[[Pin], None]) -> None:
        self._chip = chip
        self._edge: Callable[[Pin], None] = lambda _pin: None  # the board's own wires come before any event
        self._pins: dict[str, Pin] = {}
        self._net: dict[str, set[str]] = {}
        self._outside: dict[str, int] = {}  # levels driven from outside the chip
        self._pins[RESET_PIN] = Pin(RESET_PIN, pull=PULL_UP, level=1)
        self._net[RESET_PIN] = {RESET_PIN}
        for a, b in chip.wires:
            self.wire(a, b)
        self._edge = edge

    def key(self, name: PinName) -> int:
        """The number under which the guest knows the pin. Raises UsageError for a pin that the chip has not."""
        text = str(name).strip().upper()
        if self._chip.pins:
            if text.isdecimal() and int(text) < self._chip.pins:
                return int(text)
        else:
            text = text.removeprefix("P") if len(text) > 2 else text
            letters = self._chip.pin_ports
            if text[:1] in letters and text[1:].isdecimal() and int(text[1:]) < 16:
                return letters.index(text[0]) * 16 + int(text[1:])
        example = f"0 to {self._chip.pins - 1}" if self._chip.pins else "such as 'A0' or 'PC13'"
        raise UsageError(f"the {self._chip.name} has no pin {name!r}; expected {example}")

    def guest_key(self, text: str, *, is_text: bool) -> int:
        """The same for a program, which has the port's own names only. Raises UsageError."""
        manners = self._chip.manners
        if manners is None:
            return self.key(text)
        if self._chip.pins:
            key = self.key(text)
            if is_text or key in manners.no_pins:
                raise UsageError(f"the {self._chip.name}'s port knows no pin {text!r}")
            return key
        names = manners.board_pins
        if names is None:
            return self.key(text)
        if text not in names and not (text[:1].isupper() and text[1:].isdecimal() and str(int(text[1:])) == text[1:]):
            raise UsageError(f"the port's board has no pin {text!r}")
        return self.key(names.get(text, text))

    def name(self, key: int) -> str:
        return str(key) if self._chip.pins else f"{self._chip.pin_ports[key // 16]}{key % 16}"

    def by_key(self, key: int) -> Pin:
        return self.by_name(self.name(key))

    def by_name(self, name: str) -> Pin:
        if name not in self._pins:
            self._pins[name] = Pin(name)
            self._net.setdefault(name, {name})
        return self._pins[name]

    def pin(self, name: PinName) -> Pin:
        """The pin that a user names. Raises UsageError for one that the chip has not."""
        return self.by_name(RESET_PIN if name == RESET_PIN else self.name(self.key(name)))

    def wire(self, a: PinName, b: PinName) -> None:
        """Connect two pins; either may be ``"RST"``, the reset input."""
        joined = self._net[self.pin(a).name] | self._net[self.pin(b).name]
        for name in joined:
            self._net[name] = joined
        self._settle(joined)

    def unwire(self, a: PinName, b: PinName) -> None:
        """Take pin ``b`` off the net of pin ``a``."""
        first, second = self.pin(a).name, self.pin(b).name
        net = self._net[first]
        if first == second or second not in net:
            raise UsageError(f"pins {a!r} and {b!r} are not wired together")
        self._net[second] = {second}
        net.discard(second)
        self._settle(net)
        self._settle({second})

    def wired(self, a: PinName, b: PinName) -> bool:
        return self.pin(b).name in self._net[self.pin(a).name]

    def drive(self, name: PinName, level: int | None) -> None:
        """Hold a pin at a level from outside the chip; None lets it go."""
        pin = self.pin(name)
        if level is None:
            self._outside.pop(pin.name, None)
        else:
            self._outside[pin.name] = 1 if level else 0
        self.changed(pin)

    def changed(self, pin: Pin) -> None:
        """To be called after a pin's mode, output or pull has been changed."""
        self._settle(self._net[pin.name])

    def reset(self, *, soft: bool = False) -> None:
        """Interrupts are gone; at other than a soft reset all pins become inputs."""
        for pin in self._pins.values():
            if pin.name != RESET_PIN:
                pin.reset(soft=soft)
        for net in {id(net): net for net in self._net.values()}.values():
            self._settle(net)

    def __iter__(self) -> Iterator[Pin]:
        return iter(self._pins.values())

    def _settle(self, net: set[str]) -> None:
        pins = [self._pins[name] for name in sorted(net)]
        driven = [self._outside[pin.name] for pin in pins if pin.name in self._outside]
        driven += [pin.output for pin in pins if pin.mode == OUT]
        driven += [0 for pin in pins if pin.mode == OPEN_DRAIN and not pin.output]
        level = min(driven) if driven else int(any(pin.pull == PULL_UP for pin in pins))
        moved = [pin for pin in pins if pin.level != level]
        for pin in moved:
            pin.level = level
        for pin in moved:
            self._edge(pin)
