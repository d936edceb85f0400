"""A board in a lab: its place is acquired before anything else, and given back at the end."""

from __future__ import annotations

import queue
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from harness.bench.real_device import RealDevice
from harness.errors import BenchFault, FinalFault, HarnessError, UsageError
from harness.inventory.model import Board, LabgridPlace
from harness.labgrid.client import Lab, Place, power_names, serial_url
from harness.labgrid.lease import Lease
from harness.labgrid.place_power import PlacePower
from harness.power.switch import PowerSwitch

if TYPE_CHECKING:
    from harness.bench.checked_firmware import Report

#: How long a list of the lab's places may take, in seconds.
_LIST_PATIENCE = 15.0


class LabDevice(RealDevice):
    """Implements :class:`harness.bench.device.Device` for ``identity.labgrid``."""

    def __init__(self, board: Board) -> None:
        super().__init__(board)
        assert board.identity is not None
        assert board.identity.labgrid is not None
        self._wanted: LabgridPlace = board.identity.labgrid
        self._lease: Lease | None = None
        self._url = ""
        self._happened: Callable[[str, str], None] = lambda _kind, _words: None
        self._cut: Callable[[], None] = lambda: None

    def listen(self, happened: Callable[[str, str], None], lost: Callable[[], None]) -> None:
        self._happened, self._cut = happened, lost

    def start(self, report: Report, wait: float = 0.0) -> None:
        self._take(lambda words: report(words, 0, 0), wait)
        assert self._lease is not None
        held = self._lease.held
        assert held is not None
        self._url = serial_url(held.resources, held.place, self._wanted.serial or "")

    def _take(self, report: Callable[[str], None], wait: float) -> None:
        report("acquiring its place")
        self._lease = lease = Lease(self._wanted, wait, lambda: self._cut())
        held = lease.take(report)
        names, power = power_names(held.resources), self._board.power
        if power.method == "none" and "method" not in power.model_fields_set and len(names) == 1:
            self.switch = PlacePower()
        if isinstance(self.switch, PlacePower):
            if not names:
                raise FinalFault(
                    f"{self._board.id}: place {held.place!r} has nothing that switches power",
                    hint="take 'power: {method: labgrid}' out of boards.yaml, or add a power resource to the place",
                )
            self.switch.bind(lease.lab, held.place, self._require)

    def close(self) -> None:
        super().close()
        lease, self._lease = self._lease, None
        if lease is not None:
            unreleased = lease.release()
            self._tell(lease)
            if unreleased:
                self._happened("lab", unreleased)

    def why_gone(self, patience: float = 0.0) -> FinalFault | None:
        if self._lease is None:
            return None
        why = self._lease.why_lost(patience)
        self._tell(self._lease)
        return why

    def _require(self) -> None:
        if (gone := self.why_gone()) is not None:
            raise gone

    def _tell(self, lease: Lease) -> None:
        with suppress(queue.Empty):
            while True:
                self._happened(*lease.events.get_nowait())

    def find(self) -> str:
        self._require()
        if not self._url:
            raise BenchFault(f"board {self._board.id!r}: its place is not acquired, so that its port is not known")
        return self._url

    # -- without a start -------------------------------------------------------------------------

    def whereabouts(self) -> tuple[str, str]:
        lab = Lab.of(self._wanted)
        try:
            fitting = self.fitting()
        except HarnessError as problem:
            return "-", problem.message
        where = f"{self._described} at {lab.address}"
        if not fitting:
            return where, "the lab has no such place"
        free = sum(not place.held for place in fitting)
        if self._wanted.place:
            return where, "free in the lab" if free else "held in the lab"
        return where, f"{free} of {len(fitting)} such places free"

    @property
    def holder(self) -> str:
        """Who of the lab has it, in words; empty when nobody does, or it cannot be told."""
        try:
            fitting = self.fitting()
        except HarnessError:
            return ""
        if any(not place.held for place in fitting):
            return ""
        return "; ".join(
            (f"{place.name}: " if self._wanted.tags else "")
            + place.held
            + (f", since {place.changed}" if place.acquired and place.changed else "")
            for place in fitting[:5]
        )

    @property
    def _described(self) -> str:
        wanted = self._wanted
        tags = " ".join(f"{key}={value}" for key, value in (wanted.tags or {}).items())
        return f"place {wanted.place}" if wanted.place else f"a place with {tags}"

    def fitting(self) -> list[Place]:
        """The lab's places that would do, whoever has them. Raises as :meth:`Lab.places`."""
        wanted, lab = self._wanted, Lab.of(self._wanted)
        return [p for p in places_of(lab) if (p.name == wanted.place if wanted.place else p.fits(wanted.tags or {}))]

    def switch_now(self) -> PowerSwitch:
        """Acquires the place, which :meth:`close` gives back."""
        self._take(lambda _words: None, 0.0)
        if self.switch is None:
            raise UsageError(
                f"board {self._board.id!r}: its place has nothing that switches power, or several things",
                hint="'power: {method: labgrid, options: {name: NAME}}' in boards.yaml says which one",
            )
        return self.switch


def places_of(lab: Lab) -> list[Place]:
    """The places of ``lab``, asked once for all boards that a command speaks of. Raises as :meth:`Lab.places`."""
    answer = _places(lab)
    if isinstance(answer, HarnessError):
        raise answer
    return answer


@lru_cache(maxsize=16)
def _places(lab: Lab) -> list[Place] | HarnessError:
    try:
        return lab.places(_LIST_PATIENCE)
    except HarnessError as problem:
        return problem
