"""What a runtime on a board does through the board's wiring, whatever language its VM speaks."""

from __future__ import annotations

from collections.abc import Callable

from harness.errors import BenchFault
from harness.link.session import Session
from harness.runtimes.base import Hand


class Wired:
    """``reset`` resets the chip into its application; None when the wiring has no way to. ``hands`` does what else can
    be done to the board from outside."""

    def __init__(
        self, session: Session, reset: Callable[[], None] | None, hands: Callable[[Hand], None] | None
    ) -> None:
        self.session = session
        self._reset = reset
        self._hands = hands
        # Whether the board is known to wait for a program. Not so after a failure: the next program asks first.
        self._in_hand = False

    @property
    def can_reset(self) -> bool:
        """Whether the wiring has a way to reset the chip."""
        return self._reset is not None

    @property
    def has_hands(self) -> bool:
        """Whether something can cut its power and drive its pins."""
        return self._hands is not None

    def enter(self, *, after_reset: bool = False) -> None:
        """See :meth:`harness.runtimes.base.BoardRuntime.enter`."""
        raise NotImplementedError

    def hard_reset(self) -> None:
        self.session.forget_input()
        self._pulse_reset()
        self.enter(after_reset=True)

    def _lend(self, hand: Hand) -> None:
        if hand.what == "reset":
            self._pulse_reset()
        elif self._hands is not None:
            self._hands(hand)
        else:
            raise BenchFault(f"nothing here can do that to this board: {hand.what}")

    def _pulse_reset(self) -> None:
        if self._reset is None:
            raise BenchFault("this board's wiring has no reset line", hint="see 'reset' in docs/boards-yaml.md")
        self.session.transcript.note("hard reset")
        self._in_hand = False
        self._reset()
