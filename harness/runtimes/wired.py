"""What a runtime on a board does through the board's wiring, whatever language its VM speaks."""

from __future__ import annotations

import time
from collections.abc import Callable

from harness.errors import SET_ASIDE, ApplicationInTheWay, BenchFault, DoesNotStart, FirmwareFailure, Unreadable
from harness.link.boot_words import cause, doubts
from harness.link.deadline import Deadline
from harness.link.panics import Panic, by_application, confirmed_crash, crashed, find_panic, is_text, printable
from harness.link.session import READ_LIMIT, Read, Reason, Session
from harness.runtimes.interface import Intervention
from harness.runtimes.recorded import recorded_call

#: How much of what a board says before it answers is looked at, in bytes.
_HEARD = 16_000
#: A port that went at a reset of ours comes back within this time, in seconds.
_BACK_WITHIN = 10.0
#: How long a chip's own USB may take to go after a reset, in seconds.
_GOES_WITHIN = 1.5


class Wired:
    """``reset`` resets the chip into its application; None when the wiring has no way to. ``intervene`` does what else
    can be done to the board from outside; None when nothing can. ``native_usb``: the port is the chip's own, and goes
    at each of its resets."""

    _answered = False  # ever
    _heard = b""
    _after_reset = False
    _came_back = False

    def __init__(
        self,
        session: Session,
        reset: Callable[[], None] | None,
        intervene: Callable[[Intervention], None] | None,
        native_usb: bool = False,
    ) -> None:
        self.session = session
        self._native_usb = native_usb
        self.in_call = False  # see recorded_call
        self._reset = reset
        self._from_outside = intervene
        # Whether the board is known to wait for a program. Not so after a failure: the next program asks first.
        self._in_hand = False

    @property
    def can_reset(self) -> bool:
        """Whether the wiring has a way to reset the chip."""
        return self._reset is not None

    @property
    def can_intervene(self) -> bool:
        """Whether something can cut its power and drive its pins."""
        return self._from_outside is not None

    @recorded_call
    def enter(self, *, after_reset: bool = False) -> None:
        """See :meth:`harness.runtimes.interface.BoardRuntime.enter`."""
        raise NotImplementedError

    @recorded_call
    def hard_reset(self) -> None:
        self.session.forget_input()
        self._pulse_reset()
        self.enter(after_reset=True)

    def _first_of_start(self, intervention: Intervention | None, within: float) -> Read:
        """The first byte of the start that a sleep or a reset leads to, with an intervention in between.

        A chip whose port is its own USB takes it along into its sleep: what is to be done to it is done all the same.
        """
        if intervention is None:
            return self.session.read_exactly(1, deadline=within)
        moment = Deadline(intervention.after)
        first = self.session.read_exactly(1, deadline=moment)
        went = first.reason is Reason.CLOSED and self._native_usb
        if went:
            time.sleep(moment.left)
        if went or first.reason is Reason.DEADLINE:
            first = self._first_after(intervention, within)
        return first

    def _first_after(self, intervention: Intervention, within: float) -> Read:
        """Intervene in a sleep, and read the first byte of the start that this leads to."""
        self._came_back = False
        self._intervene(intervention)
        if self._came_back:  # a new port: the chip has started
            return Read(b"", Reason.CLOSED)
        return self.session.read_exactly(1, deadline=within)

    def _intervene(self, intervention: Intervention) -> None:
        if intervention.what == "reset":
            if self.session.closed:
                raise BenchFault(
                    "the chip sleeps, and its reset lines have gone with its port",
                    hint="a chip whose port is its own USB is woken by its power, by a pin, or by a person",
                )
            self._pulse_reset()
        elif self._from_outside is not None:
            self._from_outside(intervention)
        else:
            raise BenchFault(f"nothing here can do that to this board: {intervention.what}")

    def _pulse_reset(self) -> None:
        if self._reset is None:
            raise BenchFault("this board's wiring has no reset line", hint="see 'reset' in docs/boards-yaml.md")
        self.session.transcript.note("hard reset")
        self._in_hand = False
        self._reset()
        self._lets_go_of_its_port()

    def _lets_go_of_its_port(self) -> None:
        """After a reset: where the port is the chip's own, wait until it has gone and is back.

        What the start printed until then has gone with it.
        """
        self._came_back = False
        if not self._native_usb:
            return
        self.session.read_until(idle=_GOES_WITHIN, deadline=_GOES_WITHIN, watch_panics=False)
        if self.session.closed:
            self.session.reconnect(within=_BACK_WITHIN)
            self._came_back = True

    # -- what a board says until it answers ------------------------------------------------------

    def _begin_to_listen(self, after_reset: bool) -> None:
        self._in_hand, self._heard, self._after_reset = False, b"", after_reset

    def _say_while_starting(self, data: bytes) -> None:
        """Send ``data`` to a board that may be starting, whose port may go with that."""
        try:
            self.session.write(data)
        except BenchFault:
            if not (self._after_reset or self._native_usb):
                raise
            self.session.reconnect(within=_BACK_WITHIN)

    def _hear(self, *patterns: bytes, idle: float, deadline: float | Deadline, limit: int = READ_LIMIT) -> Read:
        """A read before the board has answered. No words of a crash end it: an application can print them.

        Raises what a crash is that is confirmed by what follows its words.
        """
        read = self.session.read_until(*patterns, idle=idle, deadline=deadline, watch_panics=False, limit=limit)
        self._heard = (self._heard + read.data)[-_HEARD:]
        self._check_crash(self._heard)
        if read.reason is Reason.CLOSED:
            if not (self._after_reset or self._native_usb):
                raise BenchFault("the port was closed while the board was asked for its prompt")
            self.session.reconnect(within=_BACK_WITHIN)
        return read

    def _check_crash(self, data: bytes) -> None:
        """Raise what the board says of itself, when it has crashed indeed."""
        panic = confirmed_crash(data)
        if panic is not None:
            raise self._does_not_start(panic)

    def _does_not_start(self, panic: Panic) -> BenchFault | FirmwareFailure:
        if self._answered:
            return crashed("the board does not start", panic)
        # Nothing was measured yet, and a damaged image looks the same where the ROM checks nothing (ESP8266).
        hint = "flash it again; if it stays so, this firmware does not run on this chip"
        if panic.kind == "boot loop":
            hint = f"does the application on it reset the chip as soon as it starts? Otherwise {hint}"
        return DoesNotStart(
            f"the board does not start ({panic.kind}): {panic.text}", hint=cause(self._heard) or hint, said=self._heard
        )

    @property
    def start_doubts(self) -> str:
        """What the start that it was entered by said of a lack, in words; empty when nothing."""
        return doubts(self._heard)

    def _trouble_heard(self) -> bool:
        return find_panic(self._heard, reset_expected=True) is not None

    def _no_answer(self, what: str, hint: str) -> BenchFault | FirmwareFailure:
        """Why the board did not come to ``what`` ("no raw REPL within 15 s")."""
        came = printable(self._heard[-400:]) or "nothing"
        panic = find_panic(self._heard, reset_expected=True)
        if panic is not None and panic.kind in ("boot", "brown-out", "boot loop"):
            return self._does_not_start(panic)
        if not is_text(self._heard):
            return Unreadable(f"{what}: what came is no text at this baud rate ({len(self._heard)} bytes)", hint=hint)
        if panic is not None and panic.kind == "application":
            return ApplicationInTheWay(
                f"{what}: the application on the board lets the chip sleep as soon as it starts; came {panic.text!r}",
                hint=f"a reset line ('reset' in boards.yaml) lets the harness in before it; then {SET_ASIDE}",
            )
        if said := printable(by_application(self._heard)[-400:]):
            return ApplicationInTheWay(
                f"{what}: the application on the board goes on; it printed {said!r}",
                hint=f"{SET_ASIDE}. Where it never lets go, take it off by hand. {hint}",
            )
        return BenchFault(f"{what}; came {came!r}", hint=hint)
