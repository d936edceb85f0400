"""What goes wrong on a bench, on purpose: a seeded layer between a virtual board's wire and its chip.

Each fault waits for its moment, counted in the bytes that pass it (so that it does not depend on how they were cut
on their way), and then does its damage ``count`` times. The same seed and the same bytes give the same damage.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from harness.errors import UsageError

Way = Literal["to-host", "to-board", "both"]
#: Which bytes a fault counts: those of a direction, or those of a phase of the board's life.
_Phase = Literal["line", "flashing", "uploading", "running", "boot"]


@dataclass(frozen=True)
class Kind:
    """``way`` is the usual direction; ``many``: happens at a rate, without end; others happen once."""

    name: str
    sentence: str
    way: Way = "to-host"
    phase: _Phase = "line"
    many: bool = False


#: Every kind, with one sentence each.
KINDS = {
    kind.name: kind
    for kind in (
        Kind("drop", "A byte is lost.", "both", many=True),
        Kind("double", "A byte comes twice.", "both", many=True),
        Kind("flip", "A bit of a byte is turned.", "both", many=True),
        Kind("swap", "Two neighbouring bytes change places.", "both", many=True),
        Kind("noise", "Some bytes come that nobody sent.", "both", many=True),
        Kind("nul", "A byte arrives as NUL, as after a framing error.", "both", many=True),
        Kind("delay", "The line holds its bytes back for 50 ms.", "both", many=True),
        Kind("burst", "A burst of 64 bytes is garbled.", "both", many=True),
        Kind("partial-write", "The rest of a write is lost.", "to-board", many=True),
        Kind("stall", "The line holds its bytes back for some seconds, then delivers them."),
        Kind("wrong-baud", "The adapter falls back to another baud rate until the board is reset.", "both"),
        Kind("echo", "The board's side echoes what it receives, until power is cut.", "to-board"),
        Kind("stale", "The adapter sends its last bytes once more."),
        Kind("mute", "Nothing comes from the board until it is reset."),
        Kind("deaf", "Nothing reaches the board until it is reset.", "to-board"),
        Kind("hang", "The board does nothing until it is reset by its line."),
        Kind("latch-up", "The board does nothing until its power is cut."),
        Kind("dead", "The board does nothing any more, whatever is done."),
        Kind("flood", "The board sends without end until it is reset."),
        Kind("vanish", "The port disappears and comes back after some time."),
        Kind("renamed", "The port disappears and comes back under another name."),
        Kind("gone", "The port disappears for good."),
        Kind("boot-garbage", "Random bytes come at each start of the board.", phase="boot", many=True),
        Kind("brown-out", "The supply dips and the chip resets, while a program runs.", phase="running"),
        Kind("brown-out-loop", "The supply dips at each start, until power is cut.", phase="boot"),
        Kind("reset-flashing", "The chip resets while its flash is written.", "to-board", "flashing"),
        Kind("reset-uploading", "The chip resets while it receives a program or a file.", "to-board", "uploading"),
        Kind("reset-running", "The chip resets while a program reports its figures.", phase="running"),
        Kind("wrong-version", "The firmware says that it is another version.", phase="boot", many=True),
        Kind("full-filesystem", "The filesystem has no space left.", phase="boot", many=True),
        Kind("stuck-bit", "A bit of the flash reads 0, whatever is written.", "to-board", "flashing"),
        Kind("bit-rot", "A byte of the firmware in flash has lost its content.", phase="running"),
        Kind("power-stuck", "The hub's port does not switch: power stays on."),
        Kind("lines-stuck", "DTR and RTS do not reach the chip."),
    )
}
#: What a board can be rather than what happens to it: each is there from the start, until it is mended. A soak injects
#: none of them, for nothing that the harness can do brings such a board back.
TRAITS = {
    kind.name: kind
    for kind in (
        Kind("strap-low", "ESP: its boot strap is held low, so that every reset ends in the boot loader."),
        Kind(
            "strap-high",
            "ESP: DTR does not reach its boot strap, so that no line leads to the boot loader.",
        ),
        Kind("slow-crystal", "ESP: it has a 26 MHz crystal and firmware for one of 40 MHz; its console is too slow."),
        Kind("no-quad-flash", "ESP32: its flash cannot be read by four lines (qio, qout)."),
        Kind("slow-flash", "ESP32: its flash cannot be read at 80 MHz."),
        Kind("no-psram", "ESP32: firmware for PSRAM finds none, says so, and goes on."),
        Kind("no-psram-abort", "ESP32: firmware for PSRAM finds none, and aborts."),
        Kind("octal-build", "ESP32: firmware for octal flash finds that its chip has another, and aborts."),
    )
}
#: What lasts, and what ends it.
_UNTIL_RESET = {"wrong-baud", "mute", "deaf", "hang", "flood"}
_UNTIL_POWER = {"echo", "latch-up", "brown-out-loop"}
_AT_ONCE = {"power-stuck", "lines-stuck", *TRAITS}
_LASTS = {*_UNTIL_RESET, *_UNTIL_POWER, "dead", *_AT_ONCE}
_ALL = {**KINDS, **TRAITS}
_SILENT = {"mute", "hang", "latch-up", "dead"}
_DEAF = {"deaf", "hang", "latch-up", "dead"}
_USUAL_RATE = 1e-4
_BURST = 64
_DELAY = 0.05
#: One chunk of a flood, in bytes, and how many chunks come a second.
_FLOOD_CHUNK, _FLOOD_PAUSE = 4096, 0.01
_ALL_BYTES = bytes(range(256))


@dataclass(frozen=True)
class Fault:
    """One fault. ``rate`` is its chance at each byte; None is the usual one of its kind (1e-4, or at once for what
    happens once). Nothing counts until the text ``behind`` has passed (each character stands for a byte), then
    ``after`` bytes pass before; ``count`` is how often it happens at most; ``seconds`` is how long a stall lasts and
    how long a port stays away. Raises UsageError for a kind that there is not."""

    kind: str
    rate: float | None = None
    seed: int = 0
    direction: Way | None = None
    after: int = 0
    count: int | None = None
    seconds: float = 1.0
    behind: str = ""

    def __post_init__(self) -> None:
        if self.kind not in _ALL:
            raise UsageError(f"there is no fault {self.kind!r}", hint=f"kinds: {', '.join(_ALL)}")
        if self.rate is not None and not 0 < self.rate <= 1:
            raise UsageError(f"fault {self.kind}: rate is a chance above 0 and up to 1, came {self.rate:g}")
        if self.after < 0 or (self.count is not None and self.count < 1) or not 0 <= self.seconds <= 3600:
            raise UsageError(f"fault {self.kind}: after, count and seconds must make sense, came {self}")
        if self.behind and _ALL[self.kind].phase == "boot":
            raise UsageError(f"fault {self.kind}: it is about starts, and has no text to wait for")
        if any(ord(character) > 255 for character in self.behind):
            raise UsageError(f"fault {self.kind}: behind stands for bytes, came {self.behind[:40]!a}")

    @property
    def filled(self) -> Fault:
        """The same with everything said."""
        kind = _ALL[self.kind]
        at_once = not kind.many or kind.phase == "boot"
        return replace(
            self,
            rate=self.rate if self.rate is not None else 1.0 if at_once else _USUAL_RATE,
            direction=self.direction or kind.way,
            count=self.count if self.count is not None or kind.many else 1,
        )


class Bench(Protocol):
    """What a fault can do to the board that it sits on."""

    @property
    def downloading(self) -> bool: ...
    def deliver(self, data: bytes) -> None: ...
    def feed(self, data: bytes) -> None: ...
    def glitch(self, reason: str) -> None: ...
    def lose_port(self, seconds: float | None, renamed: bool) -> None: ...
    def decay(self, *, stuck: bool, chance: random.Random) -> None: ...


class _Active:
    """A fault at work in one direction: ``left`` bytes still pass before it happens."""

    def __init__(self, fault: Fault, way: str) -> None:
        self.fault = fault
        self.kind = fault.kind
        self.random = random.Random(f"{fault.kind}/{fault.seed}/{way}")
        self.times = 0
        self.burst = 0
        self.left = fault.after + self._gap()
        #: What has to pass yet, and the end of what did, in which it may have begun.
        self._awaited = fault.behind.encode("latin-1")
        self._tail = b""

    def begins(self, data: bytes) -> int | None:
        """Where in ``data`` it begins to count; None while what it waits for has not passed."""
        if not self._awaited:
            return 0
        joined = self._tail + data
        found = joined.find(self._awaited)
        if found < 0:
            self._tail = joined[max(0, len(joined) - len(self._awaited) + 1) :]
            return None
        begin = found + len(self._awaited) - len(self._tail)
        self._awaited = self._tail = b""
        return begin

    def _gap(self) -> int:
        rate = self.fault.rate or 1.0
        return 0 if rate >= 1 else int(math.log(1 - self.random.random()) / math.log1p(-rate))

    @property
    def spent(self) -> bool:
        return self.fault.count is not None and self.times >= self.fault.count

    def happened(self) -> None:
        self.times += 1
        self.left = self._gap()


class Faults:
    """The faults of one board. All methods may be called from any thread."""

    def __init__(self, bench: Bench, faults: tuple[Fault, ...] = ()) -> None:
        self._bench = bench
        self._lock = threading.RLock()
        self._ways: dict[str, list[_Active]] = {"to-host": [], "to-board": [], "boot": []}
        self._states: set[str] = set()
        self._held: dict[str, bytearray] = {}
        self._last = b""
        #: How often each kind has happened.
        self.happened: dict[str, int] = {}
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault) -> None:
        fault = fault.filled
        kind = _ALL[fault.kind]
        with self._lock:
            if fault.kind in _AT_ONCE:
                self._begin(fault.kind)
            elif kind.phase == "boot":
                self._ways["boot"].append(_Active(fault, "boot"))
            else:
                for way in ("to-host", "to-board"):
                    if fault.direction in (way, "both"):
                        self._ways[way].append(_Active(fault, way))

    def clear(self) -> None:
        """Everything is well again from here on; what it has done stays done."""
        with self._lock:
            for actives in self._ways.values():
                actives.clear()
            self._states.clear()

    def lasts(self, kind: str) -> bool:
        """Whether ``kind`` is in effect now."""
        return kind in self._states

    # -- the line --------------------------------------------------------------------------------

    def to_host(self, data: bytes) -> bytes:
        """What of ``data`` goes on to the client now."""
        if not self._ways["to-host"] and not self._states and "to-host" not in self._held:
            return data
        with self._lock:
            if not self._bench.downloading:
                self._last = (self._last + data)[-200:]
            data = self._through("to-host", data, "running")
            if self._states & _SILENT:
                return b""
            return self._hold("to-host", _garbled(data) if "wrong-baud" in self._states else data)

    def to_board(self, data: bytes) -> bytes:
        """What of ``data`` reaches the chip now."""
        if not self._ways["to-board"] and not self._states and "to-board" not in self._held:
            return data
        with self._lock:
            if "echo" in self._states:
                self._bench.deliver(data)
            data = self._through("to-board", data, "flashing" if self._bench.downloading else "uploading")
            if self._states & _DEAF:
                return b""
            return self._hold("to-board", _garbled(data) if "wrong-baud" in self._states else data)

    def _through(self, way: str, data: bytes, phase: str) -> bytes:
        if way == "to-host" and self._bench.downloading:
            phase = "flashing"
        for active in list(self._ways[way]):
            if KINDS[active.kind].phase in ("line", phase):
                data = self._strike(active, way, data)
        self._ways[way] = [active for active in self._ways[way] if not active.spent or active.burst]
        return data

    def _strike(self, active: _Active, way: str, data: bytes) -> bytes:
        at = active.begins(data)
        if at is None:
            return data
        garbled = _garbled(data[at : at + active.burst])
        out = bytearray(data[:at]) + garbled
        at += len(garbled)
        active.burst -= len(garbled)
        while at < len(data) and not active.spent and active.left < len(data) - at:
            hit = at + active.left
            out += data[at:hit]
            piece, used = self._damage(active, way, data, hit)
            out += piece
            at = hit + used
            active.happened()
            self.happened[active.kind] = self.happened.get(active.kind, 0) + 1
        active.left -= min(active.left, len(data) - at)
        return bytes(out + data[at:])

    def _damage(self, active: _Active, way: str, data: bytes, at: int) -> tuple[bytes, int]:
        """What stands for the bytes from ``at`` on, and how many of them it stands for."""
        byte, kind, chance = data[at : at + 1], active.kind, active.random
        if kind == "drop":
            return b"", 1
        if kind == "double":
            return byte * 2, 1
        if kind == "flip":
            return bytes([byte[0] ^ (1 << chance.randrange(8))]), 1
        if kind == "nul":
            return b"\0", 1
        if kind == "swap":
            return data[at + 1 : at + 2] + byte, len(data[at : at + 2])
        if kind == "noise":
            return chance.randbytes(chance.randrange(1, 9)) + byte, 1
        if kind == "stale":
            return byte + self._last, 1
        if kind == "partial-write":
            return b"", len(data) - at
        if kind == "burst":
            used = min(_BURST, len(data) - at)
            active.burst = _BURST - used
            return _garbled(data[at : at + used]), used
        self._event(active, way)
        return byte, 1

    def _event(self, active: _Active, way: str) -> None:
        kind, seconds = active.kind, active.fault.seconds
        if kind in ("delay", "stall"):
            self._held.setdefault(way, bytearray())
            self._later(_DELAY if kind == "delay" else seconds, lambda: self._release(way))
        elif kind in _LASTS:
            self._begin(kind)
            if kind == "flood":
                self._later(0, self._flood)
        elif kind in ("vanish", "renamed", "gone"):
            away = None if kind == "gone" else seconds
            self._later(0, lambda: self._bench.lose_port(away, kind == "renamed"))
        elif kind in ("stuck-bit", "bit-rot"):
            self._bench.decay(stuck=kind == "stuck-bit", chance=active.random)
            if kind == "bit-rot":  # it shows when the chip starts again
                self._later(0, lambda: self._bench.glitch("power-on"))
        else:
            self._later(0, lambda: self._bench.glitch("brown-out" if kind == "brown-out" else "power-on"))

    @staticmethod
    def _later(seconds: float, action: Callable[[], None]) -> None:
        # On a thread of its own: what strikes here may be the chip's own thread, or hold its lock.
        timer = threading.Timer(seconds, action)
        timer.daemon = True
        timer.start()

    def _hold(self, way: str, data: bytes) -> bytes:
        held = self._held.get(way)
        if held is None:
            return data
        held += data
        return b""

    def _release(self, way: str) -> None:
        with self._lock:
            data = bytes(self._held.pop(way, b""))
        if data:
            (self._bench.deliver if way == "to-host" else self._bench.feed)(data)

    def _flood(self) -> None:
        if "flood" in self._states:
            self._bench.deliver(_ALL_BYTES[32:96] * (_FLOOD_CHUNK // 64))
            self._later(_FLOOD_PAUSE, self._flood)

    def _begin(self, kind: str) -> None:
        self._states.add(kind)
        if kind in _AT_ONCE or kind == "brown-out-loop":
            self.happened[kind] = self.happened.get(kind, 0) + 1

    # -- the chip's life -------------------------------------------------------------------------

    def reset(self) -> None:
        """EN was low."""
        with self._lock:
            self._states -= _UNTIL_RESET

    def power_cut(self) -> None:
        with self._lock:
            self._states -= _UNTIL_RESET | _UNTIL_POWER

    def boots(self, kind: str) -> random.Random | None:
        """Whether the fault ``kind`` happens at this start; its own randomness if so."""
        with self._lock:
            if kind in self._states:
                return random.Random(kind)
            for active in self._ways["boot"]:
                if active.kind == kind and not active.spent:
                    if active.left > 0:
                        active.left -= 1
                        return None
                    active.happened()
                    self.happened[kind] = self.happened.get(kind, 0) + 1
                    if kind in _LASTS:
                        self._begin(kind)
                    return active.random
        return None


def _garbled(data: bytes) -> bytes:
    """Bytes as an adapter at another baud rate sees them."""
    return bytes(b"\x00\x1c\x80\x8e\x9f\xc6\xe0\xf8\xfc\xfe\xff"[byte % 11] for byte in data)
