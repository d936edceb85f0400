"""What a runtime on a board does through the board's wiring, whatever language its VM speaks."""

from __future__ import annotations

from collections.abc import Callable

from harness.errors import BenchFault
from harness.link.session import Session
from harness.runtimes.interface import Intervention
from harness.runtimes.recorded import recorded_call


class Wired:
    """``reset`` resets the chip into its application; None when the wiring has no way to. ``intervene`` does what else
    can be done to the board from outside; None when nothing can."""

    def __init__(
        self, session: Session, reset: Callable[[], None] | None, intervene: Callable[[Intervention], None] | None
    ) -> None:
        self.session = session
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

    def _intervene(self, intervention: Intervention) -> None:
        if intervention.what == "reset":
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
