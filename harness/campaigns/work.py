"""Which board a run begins next, and what becomes of those that end: a list of boards, or a night's (lab_night.py)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.bench.firmware_record import FirmwareRecord
from harness.campaigns.plan import Found, Place
from harness.inventory.model import Board
from harness.results.run_record import BoardRecord
from harness.results.store import Store


@dataclass(frozen=True)
class Task:
    """A board to begin.

    ``only`` these scenarios (None: all that are planned), at that ``place`` of a lab; ``wait`` so many seconds for it
    (None: as the run says). With ``hand_over`` a board that is not to be had ends no scenario.
    """

    board: Board
    only: Sequence[Place] | None = None
    place: str = ""
    wait: float | None = None
    hand_over: bool = False


@dataclass(frozen=True)
class HandedOver:
    """Why a board's process has left something undone: one of the kinds of :mod:`harness.campaigns.handing_over`."""

    kind: str
    text: str


class Work(Protocol):
    planned: Found
    """What this run is held against at its end."""

    @property
    def goes_on(self) -> bool:
        """There may be something to begin, now or later."""

    def next(self) -> Task | None:
        """What can begin now."""

    def ended(self, board: Board, problem: str, handed_over: HandedOver | None) -> None:
        """The process of ``board`` has ended."""

    def gone(self, board: str) -> str:
        """Why ``board``, which runs, is to be stopped; empty: it is not."""

    def over(self, why: str) -> None:
        """Nothing more begins."""

    def close(self) -> None:
        """The run has come to its end."""


class Listed:
    """Boards one after the other."""

    def __init__(self, boards: Sequence[Board], planned: Found, store: Store, run: int) -> None:
        self.planned = planned
        self._waiting = list(boards)
        self._store = store
        self._run = run

    @property
    def goes_on(self) -> bool:
        return bool(self._waiting)

    def next(self) -> Task | None:
        return Task(self._waiting.pop(0)) if self._waiting else None

    def ended(self, board: Board, problem: str, handed_over: HandedOver | None) -> None: ...

    def gone(self, board: str) -> str:
        return ""

    def over(self, why: str) -> None:
        for board in self._waiting:
            self._store.record_problem(self._run, board.id, why)
        self._waiting.clear()

    def close(self) -> None: ...


def unknown_board(board: Board) -> BoardRecord:
    """Before anything is known of it but its entry."""
    return BoardRecord(board.id, board.chip, FirmwareRecord("", "", ""))


def finished_in(store: Store, run: int) -> dict[str, Counter[tuple[str, str]]]:
    """The scenarios that have a result, by board."""
    return {
        board.id: Counter((scenario.suite, scenario.name) for scenario in board.scenarios)
        for board in store.load_run(run, figures=False).boards
    }
