"""The boards of a night that several hosts share, in a lab that labgrid looks after (docs/lab.md).

Whose a board is for now, the store says that all of them write to (:mod:`harness.results.night`); whose a place is,
labgrid says. What is here only asks both, and chooses: a board is begun when nobody has it and a place for it is free.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.campaigns.handing_over import AWAY, DEAD, HELD, LOST
from harness.campaigns.plan import Found, left_of
from harness.campaigns.plan import Place as Scenario
from harness.campaigns.work import HandedOver, Task, finished_in, unknown_board
from harness.errors import HarnessError
from harness.inventory.model import Board, LabgridPlace
from harness.labgrid.client import Lab, Place
from harness.results.database import ServerAway
from harness.results.night import DEAD_AFTER, DONE, OPEN, TAKEN, Claim, Night
from harness.results.run_record import BoardRecord, Event, RunRecord
from harness.results.store import Store

#: How often the store hears that we live, and says who has what, in seconds.
_EVERY = 5.0
#: How often the lab is asked for its places while a board waits for one, in seconds: a second of processor time each.
_ASK_EVERY = 10.0
#: Between two boards that begin, in seconds: hosts that start together are to share them.
_BETWEEN = 0.5
#: After how long a board that was not to be had is tried again, in seconds; twice as long each time its place is lost.
_PAUSE = 15.0
#: So often a board's place may be lost before the board is an error: with the pauses some 8 minutes.
_TRIES = 6
#: How long a server is waited for at the end, and after Ctrl-C, in seconds.
_PATIENCE, _SHORT_PATIENCE = 60.0, 5.0
_LAB = "lab"


@dataclass
class _Board:
    entry: Board
    #: All that is planned, and what of it was left when it was begun here last.
    plan: list[Scenario]
    left: list[Scenario] = field(default_factory=list)
    #: What our run had of it before that.
    before: Counter[tuple[str, str]] = field(default_factory=Counter)
    place: str = ""
    running: bool = False
    not_before: float = -math.inf
    lost: int = 0
    #: Places at which it did not do.
    dead: set[str] = field(default_factory=set)
    #: What the store is to be told as soon as it hears: the state, and why.
    closing: tuple[str, str] | None = None
    shown: str = ""

    @property
    def wanted(self) -> LabgridPlace | None:
        return self.entry.identity.labgrid if self.entry.identity else None


class LabWork:
    """See :class:`harness.campaigns.work.Work`. ``send`` brings our results into the store that is shared.

    Raises ServerAway when that is not there at the start.
    """

    def __init__(
        self,
        night: Night,
        boards: Sequence[Board],
        found: Found,
        store: Store,
        run: int,
        *,
        send: Callable[[], None],
        watch: Callable[[dict[str, Any]], None],
        places: Callable[[Lab], list[Place]] = Lab.places,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.planned = replace(found, boards={})
        self._night = night
        self._boards = {board.id: _Board(board, found.boards[board.id]) for board in boards}
        self._store = store
        self._run = run
        self._send = send
        self._watch = watch
        self._places = places
        self._clock = clock
        self._claims: dict[str, Claim] = {}
        self._mine: set[str] = set()
        #: Boards that are done, and all that is planned here with them: another host may have been asked for less.
        self._whole: set[str] = set()
        self._lists: dict[Lab, tuple[float, list[Place]]] = {}
        self._over = False
        self._next_sync = self._next_begin = -math.inf
        #: Since when the store has heard us; who was silent before may only have found it as we did.
        self._heard_since: float | None = -math.inf
        self._lab_away = ""
        night.join(list(self._boards))
        send()

    # -- what a run asks -------------------------------------------------------------------------

    @property
    def goes_on(self) -> bool:
        """Until all boards are done, by whomever: one that dies elsewhere is taken over."""
        if self._over:
            return False
        return any(not self._is_done(name) for name in self._boards)

    def next(self) -> Task | None:
        self._sync()
        if self._over or self._heard_since is None or self._clock() < self._next_begin:
            return None
        for name, board in self._boards.items():
            if not self._is_open(name) or self._clock() < board.not_before:
                continue
            place = self._place_for(board)
            if place is None:
                continue
            try:
                task = self._begin(name, board, place)
            except ServerAway as problem:
                self._unheard(problem)
                return None
            if task is not None:
                self._next_begin = self._clock() + _BETWEEN
                return task
        return None

    def ended(self, board: Board, problem: str, handed_over: HandedOver | None) -> None:
        one = self._boards[board.id]
        one.running = False
        self._lists.clear()
        self._next_sync = -math.inf
        if board.id not in self._mine:  # taken over: it is another one's to say
            self._forget_what_is_left(one)
            return
        left = self._still_left(one)
        if handed_over is not None and left:
            self._handed_over(one, handed_over, left)
        elif self._over and left:
            one.closing = (OPEN, problem)
            self._forget_what_is_left(one)
        else:
            missing = f"{len(left)} of {len(one.plan)} scenarios have no result" if left else ""
            one.closing = (DONE, problem or missing)

    def gone(self, board: str) -> str:
        one = self._boards[board]
        if not one.running or board in self._mine:
            return ""
        claim = self._claims.get(board)
        return f"{claim.holder if claim else 'another host'} has taken it over"

    def over(self, why: str) -> None:
        self._over = True

    def close(self) -> None:
        """What ended is told; waits for the server for a minute."""
        end = self._clock() + (_SHORT_PATIENCE if self._over else _PATIENCE)
        while any(one.closing for one in self._boards.values()):
            self._next_sync = -math.inf
            self._sync()
            if self._clock() > end:
                break  # it is silent, and so taken for dead; its results are sent later
            if self._heard_since is None:
                time.sleep(1.0)
        self._night.close()

    # -- the store -------------------------------------------------------------------------------

    def _is_done(self, name: str) -> bool:
        claim = self._claims.get(name)
        return claim is not None and claim.state == DONE and (bool(claim.problem) or name in self._whole)

    def _is_open(self, name: str) -> bool:
        """Nobody has it, or who had it has died."""
        one, claim = self._boards[name], self._claims.get(name)
        if one.running or one.closing or claim is None or self._is_done(name):
            return False
        return claim.state in (OPEN, DONE) or (claim.dead and self._silence_counts)

    @property
    def _silence_counts(self) -> bool:
        """A server that comes back finds all of its writers silent, the living as well."""
        return self._heard_since is not None and self._clock() - self._heard_since > DEAD_AFTER

    def _sync(self) -> None:
        """Tell the store what has happened and that we live, and hear of the others."""
        if self._clock() < self._next_sync:
            return
        self._next_sync = self._clock() + _EVERY
        closing = [(name, one) for name, one in self._boards.items() if one.closing]
        try:
            if closing:
                self._send()  # first, for whoever goes on with it looks at what has a result
            for name, one in closing:
                assert one.closing is not None
                state, why = one.closing
                if state == DONE:
                    self._night.done(name, why)
                else:
                    self._night.give_back(name, why)
                one.closing = None
            self._mine = self._night.beat()
            self._claims = self._night.claims()
            for name, one in self._boards.items():
                done = self._claims[name].state == DONE and not self._is_done(name)
                if done and not left_of(one.plan, self._night.finished(name)):
                    self._whole.add(name)
        except ServerAway as problem:
            self._unheard(problem)
            return
        if self._heard_since is None:
            self._heard_since = self._clock()
            self._tell("the store is back")
        self._show()

    def _unheard(self, problem: ServerAway) -> None:
        if self._heard_since is not None:
            self._tell(f"{problem.message}; what goes on goes on, and nothing begins until it is back")
        self._heard_since = None

    def _begin(self, name: str, board: _Board, place: str) -> Task | None:
        before = self._claims[name]
        if not self._night.take(name, from_the_dead=self._silence_counts, done=before.state == DONE):
            self._next_sync = -math.inf
            return None
        self._mine.add(name)
        self._claims[name] = replace(before, state=TAKEN, silent=0.0)
        ended = self._night.finished(name)
        board.left = left_of(board.plan, ended)
        if not board.left:
            board.closing = (DONE, "")
            return None
        if name in self.planned.boards:  # an earlier try of ours: what is known of it stays
            self._store.record_problem(self._run, name, "")
        else:
            self._store.record_board(self._run, unknown_board(board.entry), position=list(self._boards).index(name))
        left = f"{len(board.left)} of {len(board.plan)} scenarios were left"
        if before.state == TAKEN:
            words = f"taken over from {before.holder}, of whom nothing was heard for {before.silent:.0f} s"
            self._event(name, f"{words}: {left}")
        elif ended:
            self._event(name, f"gone on with{f' at {place}' if place else ''}: {left}")
        board.before = self._results(name)
        self.planned.boards[name] = [*self.planned.boards.get(name, []), *board.left]
        board.place, board.running = place, True
        if board.wanted is None:
            return Task(board.entry, only=board.left)
        spare = bool(board.wanted.tags) and bool(place)
        return Task(board.entry, only=board.left, place=place if spare else "", wait=0.0, hand_over=True)

    def _results(self, name: str) -> Counter[tuple[str, str]]:
        return finished_in(self._store, self._run).get(name, Counter())

    def _still_left(self, one: _Board) -> list[Scenario]:
        return left_of(one.left, self._results(one.entry.id) - one.before)

    def _forget_what_is_left(self, one: _Board) -> None:
        """Our run is not held against what somebody else does now."""
        name = one.entry.id
        ours = self._results(name)
        self.planned.boards[name] = [place for place in one.plan if ours[place.suite, place.name]]

    # -- the lab ---------------------------------------------------------------------------------

    def _handed_over(self, one: _Board, why: HandedOver, left: list[Scenario]) -> None:
        name = one.entry.id
        at = one.place or (one.wanted.place if one.wanted else "") or name
        one.not_before = self._clock() + (_PAUSE if why.kind in (HELD, AWAY, LOST) else 0.0)
        if why.kind in (LOST, DEAD):
            one.dead.add(at)
            one.lost += 1
            others = bool(one.wanted and one.wanted.tags and self._fitting(one))
            if others:
                one.not_before = -math.inf
            elif why.kind == LOST and one.lost < _TRIES:
                one.dead.discard(at)  # there is no other, and it may come back
                one.not_before = self._clock() + _PAUSE * 2 ** (one.lost - 1)
            else:
                one.closing = (DONE, why.text)
                return
            where = "another board of its kind" if others else "the same place, when it is there again"
            # Of a place that was lost the words have come already, from who holds it.
            reason = f"{why.text}; " if why.kind == DEAD else ""
            self._event(name, f"{at}: {reason}{len(left)} of {len(one.plan)} scenarios are left for {where}")
        one.closing = (OPEN, why.text)
        self._forget_what_is_left(one)

    def _fitting(self, one: _Board) -> list[Place]:
        """The places that would do, whoever has them."""
        wanted = one.wanted
        assert wanted is not None
        lab = Lab.of(wanted)
        asked, places = self._lists.get(lab, (-math.inf, []))
        if self._clock() >= asked + _ASK_EVERY:
            try:
                places, self._lab_away = self._places(lab), ""
            except HarnessError as problem:
                if not self._lab_away:
                    self._tell(f"{problem.message}; boards that have begun go on")
                self._lab_away, places = problem.message, []
            self._lists[lab] = self._clock(), places
        if wanted.place:
            return [place for place in places if place.name == wanted.place]
        return [place for place in places if place.fits(wanted.tags or {}) and place.name not in one.dead]

    def _place_for(self, one: _Board) -> str | None:
        """A place that is free for it; "" where it needs none, or there is none, which its process will tell."""
        if one.wanted is None:
            return ""
        fitting = self._fitting(one)
        if self._lab_away:
            return None
        given = {other.place for other in self._boards.values() if other.running}
        free = [place.name for place in fitting if not place.held and place.name not in given]
        if not free and fitting:
            self._say(one, "waiting: " + "; ".join(f"{p.name} has {p.held or 'been begun'}" for p in fitting[:3]))
            return None
        return free[0] if free else ""

    # -- words -----------------------------------------------------------------------------------

    def _show(self) -> None:
        for name, one in self._boards.items():
            claim = self._claims.get(name)
            if claim is None or one.running or name in self._mine:
                continue
            if claim.state == TAKEN:
                self._say(one, f"run by {claim.holder}")
            elif self._is_done(name) and one.shown != DONE:
                one.shown = DONE
                self._watch({"event": "end", "board": name, "problem": claim.problem})

    def _say(self, one: _Board, words: str) -> None:
        if one.shown != words:
            one.shown = words
            self._watch({"event": "step", "board": one.entry.id, "text": words, "done": 0, "total": 0})

    def _tell(self, words: str) -> None:
        self._watch({"event": "told", "board": "", "text": words})

    def _event(self, board: str, words: str) -> None:
        self._store.record_event(self._run, board, Event(_LAB, words, time.time()))


def with_twins(record: RunRecord, boards: Sequence[Board]) -> RunRecord:
    """``record``, in which a board that did not come to its end, and the board of its kind that did, say so."""
    entries = {board.id: board for board in boards}
    told: dict[str, list[str]] = {}
    for one in record.boards:
        for other in record.boards:
            if one is other or not one.problem or other.problem or _kind(entries[one.id]) != _kind(entries[other.id]):
                continue
            missing = _names(other) - _names(one)
            if missing:
                told.setdefault(one.id, []).append(
                    f"{len(missing)} scenarios that have no result here have one on {other.id}, of the same chip, "
                    "runtime and firmware"
                )
                told.setdefault(other.id, []).append(f"stands for {one.id}, which did not come to its end")
                break
    marked = tuple(
        replace(one, events=(*one.events, *(Event(_LAB, words, record.finished) for words in told.get(one.id, ()))))
        for one in record.boards
    )
    return replace(record, boards=marked)


def _kind(board: Board) -> tuple[str, str, str]:
    return board.chip, board.runtime, board.firmware.model_dump_json() if board.firmware else ""


def _names(board: BoardRecord) -> set[tuple[str, str]]:
    return {(scenario.suite, scenario.name) for scenario in board.scenarios}
