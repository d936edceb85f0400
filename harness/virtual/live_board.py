"""What stands round a virtual chip's VM: the reference's board, in the host's time.

Pins, wires, RTC domain, wake sources and the queue of what will happen are those of
:class:`harness.reference.chip_board.Board`. What differs is how time passes while the VM waits: by the host's clock,
until something is due or somebody outside (a client, a lead on a pin) has a say.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from harness.chips import Reset, VirtualParts, chip_named, virtual_chips
from harness.errors import UsageError
from harness.reference.chip_board import Board, ChipReset
from harness.reference.pins import RESET_PIN, PinName
from harness.reference.timeline import Clock, Metered

#: What the chip's clock may be behind the host's, in nanoseconds; what is more is given up.
_LATEST_NS = 200_000_000


def virtual_parts(chip: str) -> VirtualParts:
    """What a virtual board with ``chip`` is made of. Raises UsageError when there is none."""
    parts = chip_named(chip).virtual
    if parts is None:
        raise UsageError(f"there is no virtual {chip}; there are {', '.join(virtual_chips())}")
    return parts


@dataclass(frozen=True)
class Surroundings:
    """What a virtual board is soldered into, and how its time passes.

    ``loopback`` are pairs of pins wired together, ``uart`` is the number of one whose TX is wired to its RX,
    ``button`` is a pin that :meth:`LiveBoard.press` pulls low,
    ``gpio16_rst`` wires the ESP8266's GPIO16 to its reset input. With ``fast`` a wait that has an end takes no
    time of the host.
    """

    loopback: tuple[tuple[PinName, PinName], ...] = ()
    uart: int | None = None
    button: PinName | None = None
    gpio16_rst: bool = False
    fast: bool = False


class LiveBoard(Board):
    """The board of one virtual chip, from power-on to power-off and beyond.

    All but :meth:`ring`, :meth:`post`, :meth:`lead` and :meth:`press` belongs to the thread that runs the chip.
    Raises UsageError for a pin that the chip has not.
    """

    def __init__(self, chip: str, surroundings: Surroundings | None = None) -> None:
        super().__init__(chip_named(chip).promised(), Clock(virtual_parts(chip).pace_ns))
        around = surroundings or Surroundings()
        self._fast = around.fast
        self._bell = Event()
        self._late_ns = 0
        self._outside: deque[Callable[[], None]] = deque()
        self._button = around.button
        #: The host's clock when the chip's was last right, while no VM drives that.
        self._idle_since: int | None = time.monotonic_ns()
        assert self.pins is not None
        if chip == "esp8266" and not around.gpio16_rst:
            self.pins.unwire(RESET_PIN, 16)
        for a, b in around.loopback:
            self.pins.wire(a, b)
        if around.uart is not None:
            self.uart_loops.add(around.uart)
        if self._button is not None:
            self.pins.pin(self._button)

    # -- from any thread -------------------------------------------------------------------------

    def ring(self) -> None:
        """Something has changed that a waiting VM may be waiting for."""
        self._bell.set()

    def post(self, action: Callable[[], None]) -> None:
        """Call ``action`` on the chip's own thread: at once while it waits, else within some milliseconds."""
        self._outside.append(action)
        self.ring()

    def lead(self, pin: PinName, level: int | None) -> None:
        """Hold a pin at a level from outside; None lets it go."""
        assert self.pins is not None
        name = self.pins.pin(pin).name
        self.post(lambda: self.drive(name, level))

    def press(self, down: bool) -> None:
        """Press the button, or let it go."""
        if self._button is None:
            raise UsageError("this virtual board has no button", hint="name its pin under wiring.button")
        self.lead(self._button, 0 if down else None)

    # -- on the chip's thread --------------------------------------------------------------------

    def attend(self) -> bool:
        """Do what was posted; whether that was anything. May raise ChipReset."""
        done = False
        while self._outside:
            self._outside.popleft()()
            done = True
        return done

    def vm_starts(self, machine: Metered) -> None:
        """From here the clock is driven by what ``machine`` executes and waits."""
        self._catch_up()
        self._idle_since = None
        self.clock.start(machine)

    def vm_ended(self) -> None:
        """From here the clock goes on by the host's, whenever it is next looked at."""
        self.clock.stop()
        self._idle_since = time.monotonic_ns()

    def restart(self, cause: Reset) -> None:
        self._catch_up()
        if cause is not Reset.SOFT:
            with contextlib.suppress(ChipReset):  # a chip that is in reset cannot be reset once more
                self.attend()
        super().restart(cause)

    def fall_asleep(self) -> None:
        self._catch_up()
        super().fall_asleep()

    def _catch_up(self) -> None:
        if self._idle_since is not None and not self._fast:
            now = time.monotonic_ns()
            self.clock.pass_until(self.clock.now_ns + now - self._idle_since)
            self._idle_since = now

    def pass_time(self, until_ns: int | None, stop: Callable[[], bool]) -> None:
        """Wait until ``until_ns`` (None: for ever), or until ``stop`` says so after something happened."""
        while True:
            self.check()
            due = self.timeline.next_due
            moments = [moment for moment in (due, until_ns) if moment is not None]
            rung = self._wait(min(moments, default=None), jump=self._fast and until_ns is not None)
            self.check()
            happened = self.attend()
            happened |= self.timeline.run_due(self.clock.now_ns) > 0
            if (happened or rung) and stop():
                return
            if until_ns is not None and self.clock.now_ns >= until_ns:
                return

    def _wait(self, moment_ns: int | None, *, jump: bool) -> bool:
        """Until ``moment_ns`` or the bell, which may have rung before; whether it has."""
        if not jump:
            # A host that is late is no part of the chip: it makes up for that in the next wait.
            begin, started = self.clock.now_ns, time.monotonic_ns() - self._late_ns
            self._bell.wait(None if moment_ns is None else max(0, moment_ns - begin - self._late_ns) / 1e9)
            end = begin + time.monotonic_ns() - started
            self.clock.pass_until(end if moment_ns is None else min(moment_ns, end))
            self._late_ns = min(max(0, end - self.clock.now_ns), _LATEST_NS)
        elif moment_ns is not None and not self._bell.is_set():
            self.clock.pass_until(moment_ns)
        if self._idle_since is not None:
            self._idle_since = time.monotonic_ns()
        rung = self._bell.is_set()
        if rung:  # only then: one that rings right after this look is for the next wait
            self._bell.clear()
        return rung
