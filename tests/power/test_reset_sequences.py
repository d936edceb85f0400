"""What the reset sequences do to a devkit's circuit."""

from __future__ import annotations

import time

import pytest
import serial

from harness.inventory.model import Board, Identity, Reset
from harness.power.reset import SEQUENCES, ResetStrategy, strategy_for


class Circuit:
    """The two transistors of a devkit, seen at each wait: EN's capacitor hides what lies between.

    Equal levels are neutral; RTS alone pulls EN low, DTR alone IO0. ``flip`` names lines with an inverter.
    """

    port = "circuit"

    def __init__(self, *flip: str) -> None:
        self._levels = {"dtr": False, "rts": False}
        self._flip = flip
        self.seen: list[tuple[int, int]] = []  # (EN, IO0)

    def _set(self, name: str, value: bool) -> None:
        self._levels[name] = value != (name in self._flip)

    @property
    def dtr(self) -> bool:
        return self._levels["dtr"]

    @dtr.setter
    def dtr(self, value: bool) -> None:
        self._set("dtr", bool(value))

    @property
    def rts(self) -> bool:
        return self._levels["rts"]

    @rts.setter
    def rts(self, value: bool) -> None:
        self._set("rts", bool(value))

    def look(self, _seconds: float = 0) -> None:
        dtr, rts = self._levels["dtr"], self._levels["rts"]
        self.seen.append((int(not (rts and not dtr)), int(not (dtr and not rts))))

    @property
    def starts(self) -> list[str]:
        """What the chip begins with at each rise of EN."""
        pairs = zip(self.seen, self.seen[1:], strict=False)
        return ["application" if io0 else "loader" for (en, _), (after, io0) in pairs if after and not en]


def play(sequence: ResetStrategy | None, circuit: Circuit, monkeypatch: pytest.MonkeyPatch) -> Circuit:
    monkeypatch.setattr(time, "sleep", circuit.look)
    assert sequence is not None
    sequence(circuit)
    circuit.look()
    return circuit


def board(**reset: object) -> Board:
    return Board(
        id="b",
        chip="esp32",
        runtime="micropython",
        identity=Identity(usb_serial="1"),
        reset=Reset.model_validate(reset),
    )


INVERTED: list[tuple[str, ...]] = [(), ("dtr",), ("rts",), ("dtr", "rts")]


@pytest.mark.parametrize("flip", INVERTED)
@pytest.mark.parametrize("method", ["dtr-rts", "classic"])
def test_each_sequence_starts_what_it_says(method: str, flip: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    described = board(method=method, invert=list(flip))
    run = play(strategy_for(described), Circuit(*flip), monkeypatch)
    assert run.starts == ["application"]
    assert run.seen[-1] == (1, 1)  # both lines are left where they pull at nothing


@pytest.mark.parametrize("flip", INVERTED[1:])
def test_a_wrong_polarity_is_not_the_same_by_luck(flip: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    unaware = play(strategy_for(board()), Circuit(*flip), monkeypatch)
    assert unaware.starts != ["application"] or unaware.seen[-1] != (1, 1)


def test_a_custom_sequence_is_turned_over_too(monkeypatch: pytest.MonkeyPatch) -> None:
    custom = strategy_for(board(method="custom", sequence="D0|R1|W0.1|R0", invert=["rts"]))
    assert play(custom, Circuit("rts"), monkeypatch).starts == ["application"]


def test_no_line_no_reset() -> None:
    assert strategy_for(board(method="none")) is None


def test_every_sequence_of_the_schema_has_its_entry() -> None:
    allowed = Reset.model_json_schema()["properties"]["method"]["enum"]
    assert set(SEQUENCES) == set(allowed) - {"none", "custom"}


def test_both_lines_of_a_local_port_change_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl
    import os

    calls: list[int] = []

    def ioctl(_fd: int, request: int, argument: bytes) -> bytes:
        calls.append(request)
        return argument

    master, slave = os.openpty()
    port = serial.Serial(os.ttyname(slave))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    reset = strategy_for(board())
    assert reset is not None
    reset(port)
    monkeypatch.undo()
    import termios

    assert [call for call in calls if call != termios.TIOCMGET] == [termios.TIOCMSET] * 2
    port.close()
    os.close(master)
    os.close(slave)
