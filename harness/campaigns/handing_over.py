"""What a board's process does in the night of a lab, when its board is not to be had or dies: it hands back what is
left, where otherwise each scenario would end as an error. Somebody else, or this host later, does it then."""

from __future__ import annotations

from harness.errors import BenchFault, FinalFault, PlaceAbsent, PlaceHeld, PlaceLost, PortBusy
from harness.inventory.model import Bench, LabgridPlace
from harness.judging.outcome import Outcome
from harness.labgrid.client import LabAway
from harness.results.run_record import ScenarioResult

#: Somebody has the place; the coordinator does not answer; the place is ours no more, or nothing stands behind it; it
#: is no such board, or dead.
HELD, AWAY, LOST, DEAD = "held", "away", "lost", "dead"


class GivenUp(BenchFault):
    """The board is left alone for the rest of the run."""


class HandingOver:
    """``asked``: by a night. ``spare``: another place would do as well, so that a dead board is no end of its work."""

    def __init__(self, asked: bool, *, spare: bool) -> None:
        self._asked = asked
        self._spare = spare
        #: Errors in a row, which are the board's end, or not.
        self._unsure: list[ScenarioResult] = []

    def kind_of(self, error: BaseException | None, *, attached: bool) -> str:
        """Why what is left is handed back after ``error``; empty: it is not. What came before and is unsure is then
        left as well."""
        if not self._asked:
            return ""
        if isinstance(error, (PlaceHeld, PortBusy)):
            return HELD
        if isinstance(error, LabAway):
            return AWAY
        if isinstance(error, (PlaceLost, PlaceAbsent)):
            return LOST
        unfit = isinstance(error, BenchFault) and not attached
        return DEAD if self._spare and (unfit or isinstance(error, (GivenUp, FinalFault))) else ""

    def sure(self, result: ScenarioResult) -> list[ScenarioResult]:
        """The results that are to be kept now that ``result`` has come."""
        self._unsure.append(result)
        if self._asked and self._spare and result.outcome is Outcome.ERROR:
            return []
        return self.rest()

    def rest(self) -> list[ScenarioResult]:
        """At the end of the session: what has been unsure until then."""
        kept, self._unsure = self._unsure, []
        return kept


def at_place(bench: Bench, board_id: str, place: str) -> Bench:
    """``bench`` with that board at ``place``, which has the tags that its entry asks for."""
    boards = []
    for board in bench.boards:
        if board.id == board_id and board.identity is not None and board.identity.labgrid is not None:
            known = board.identity.labgrid
            there = LabgridPlace(place=place, serial=known.serial, coordinator=known.coordinator, client=known.client)
            board = board.model_copy(update={"identity": board.identity.model_copy(update={"labgrid": there})})
        boards.append(board)
    return bench.model_copy(update={"boards": boards})
