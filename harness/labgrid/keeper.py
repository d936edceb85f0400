"""The process that has a place of a lab: it acquires it, watches over it, and releases it, whatever becomes of us.

A coordinator keeps a place acquired after its client has gone (labgrid documentation, "Remote Access"), so
somebody has to be left to release it. This process stands in a session of its own, where neither Ctrl-C nor an end of
the run's process group reaches it, and its input is a pipe from the run: when that ends, it releases the place. It
hears of what happens to the place from ``labgrid-client monitor``.

It is told what to take as one line of JSON and says what comes of it in lines of JSON (:mod:`harness.labgrid.lease`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from harness.children import end_with_parent, kill_group
from harness.errors import BenchFault, FinalFault, HarnessError, PlaceAbsent, PlaceHeld, UsageError
from harness.labgrid.client import Lab, LabAway, LabRefused, Place, holder, own_name
from harness.link.deadline import Deadline
from harness.link.panics import printable

#: How long the monitor may take to tell of what we have done ourselves, in seconds.
_MONITOR_PATIENCE = 30.0
#: A coordinator that went may come back within this time, in seconds.
AWAY_PATIENCE = 30.0
#: For so long a coordinator that does not answer is asked to take the place back, in seconds.
RELEASE_PATIENCE = 300.0
#: Between two questions to a coordinator that does not answer, in seconds.
_AGAIN = 2.0
#: How often the keeper looks whether its parent is still there, in seconds.
_LOOK = 1.0
#: A line of the monitor's that is longer is none, in bytes.
_LINE_LIMIT = 100_000
#: What a refusal is called on its way to the run, so that it is the same error there.
REFUSALS: dict[str, type[HarnessError]] = {
    "usage": UsageError, "held": PlaceHeld, "away": LabAway, "absent": PlaceAbsent
}  # fmt: skip
#: What the coordinator says when somebody was faster.
_TAKEN = ("already acquired", "was not reserved for")
#: The state in which there is nothing left to release.
_NOT_OURS = ("is not acquired", "does not exist", "matches nothing")
_TOKEN = re.compile(r"LG_TOKEN=([A-Za-z0-9]{1,40})\s")
_ACQUIRED = re.compile(r"^acquired place (.{1,200})$", re.MULTILINE)
_RESOURCE_PATH = re.compile(r"\['([^']*)', '([^']*)', '[^']*', '([^']*)'\]")


@dataclass(frozen=True)
class Wanted:
    """What a keeper is told. One of ``place`` and ``tags``; ``wait`` in seconds for a place that somebody has."""

    lab: Lab
    place: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    wait: float = 0.0

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Wanted:
        data = json.loads(line)
        return cls(**{**data, "lab": Lab(**data["lab"])})

    @property
    def filters(self) -> list[str]:
        """What a reservation of it asks for."""
        return [f"name={self.place}"] if self.place else [f"{key}={value}" for key, value in self.tags.items()]

    def __str__(self) -> str:
        return f"place {self.place!r}" if self.place else f"a place with {' '.join(self.filters)}"


class _Over(Exception):
    """The run has ended, or wants the place no longer."""


class Orders:
    """The pipe from the run. Anything in it, its end, and a parent that is gone all say the same."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._parent = os.getppid()
        self.over = False

    def obey_signals(self) -> None:
        """An order to end is one to release the place; Ctrl-C is for the run."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._told)

    def _told(self, *_: object) -> None:
        self.over = True

    def look(self, *others: int, within: float = 0.0) -> list[int]:
        """Those of ``others`` that can be read, after ``within`` seconds at most. Raises _Over."""
        if not self.over:
            ready, _, _ = select.select([self.descriptor, *others], [], [], min(within, _LOOK))
            if self.descriptor not in ready and os.getppid() == self._parent and not self.over:
                return ready
        self.over = True
        raise _Over


class Monitor:
    """``labgrid-client monitor``: what happens to all places, as it happens."""

    def __init__(self, lab: Lab) -> None:
        try:
            self._child = subprocess.Popen(
                lab.command("monitor"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=lab.environment(),
                start_new_session=True,
                preexec_fn=end_with_parent(),
            )
        except OSError as problem:
            raise lab.not_there(problem) from None
        assert self._child.stdout is not None
        self.descriptor = self._child.stdout.fileno()
        os.set_blocking(self.descriptor, False)
        self._rest = b""
        self.ended = False

    def lines(self) -> Iterator[str]:
        """What has come since the last time."""
        try:
            data = os.read(self.descriptor, 65536)
        except BlockingIOError:
            return
        if not data:
            self.ended = True
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[:_LINE_LIMIT]
        for line in lines:
            yield line[:_LINE_LIMIT].decode("utf-8", "replace")

    def close(self) -> None:
        kill_group(self._child)
        if self._child.stdout is not None:
            self._child.stdout.close()


class PlaceNews:
    """What the lines of a monitor say of one place: who has it, and which of its resources have gone."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._about = ""
        #: Who has the place by the last news; None before any.
        self.acquired: str | None = None
        self.deleted = False
        self._resources: set[str] = set()
        self.gone: set[str] = set()

    def feed(self, line: str) -> None:
        if not line.startswith("  "):
            self._about = line
            if line == f"Place {self._place} deleted":
                self.deleted = True
            elif heading := re.fullmatch(r"Resource ([^/]+)/([^/]+)/\?\?\?/(.+) deleted", line):
                path = "/".join(heading.groups())
                if path in self._resources:
                    self.gone.add(path)
        elif self._about == f"Place {self._place} changed:":
            name, _, change = line.strip().partition(": ")
            _, arrow, now = change.partition(" -> ")
            if arrow and name == "acquired":
                self.acquired = "" if now == "None" else now
            elif arrow and name == "acquired_resources" and (paths := _RESOURCE_PATH.findall(now)):
                self._resources = {"/".join(path) for path in paths}


class Keeper:
    """``say`` sends news to the run: what kind, and its fields."""

    def __init__(self, wanted: Wanted, orders: Orders) -> None:
        self._wanted = wanted
        self._lab = wanted.lab
        self._orders = orders
        self._owner = own_name()
        #: What may be ours, and has to be released.
        self._maybe = ""
        self._monitor: Monitor | None = None

    def run(self) -> None:
        try:
            self._monitor = Monitor(self._lab)
            place = self._take()
            news = self._confirmed(place)
            resources = self._lab.resources(place)
            _say("held", place=place, resources=[asdict(resource) for resource in resources])
            self._watch_over(place, news)
        except _Over:
            pass
        except HarnessError as problem:
            kind = next((kind for kind, of in REFUSALS.items() if isinstance(problem, of)), "fault")
            _say("refused", kind=kind, text=problem.message, hint=problem.hint)
        finally:
            if self._monitor is not None:
                self._monitor.close()
            self._release()

    # -- taking ----------------------------------------------------------------------------------

    def _take(self) -> str:
        end = Deadline(self._wanted.wait)
        fitting = self._fitting(self._lab.places())
        problem: HarnessError | None = None
        for place in fitting:
            if place.acquired:  # a reservation may be our own: the coordinator knows
                continue
            try:
                return self._acquire(place.name, place.name)
            except _Taken:
                continue
            except PlaceAbsent as absent:  # with tags another place may do
                problem = absent
        if problem is not None and not any(place.held for place in fitting):
            raise problem
        busy = _busy(self._wanted, fitting)
        if end.passed:
            raise busy
        _say("waiting", text="; ".join(f"{place.name}: {place.held}" for place in fitting if place.held))
        return self._by_reservation(end, busy)

    def _fitting(self, places: list[Place]) -> list[Place]:
        wanted = self._wanted
        fitting = [p for p in places if (p.name == wanted.place if wanted.place else p.fits(wanted.tags))]
        if not fitting:
            known = ", ".join(place.name for place in places[:20]) or "none"
            raise FinalFault(
                f"the lab at {self._lab.address} has no {str(wanted).removeprefix('a ')}; its places: {known}",
                hint="'labgrid-client places' lists them; correct identity.labgrid in the bench file",
            )
        return fitting

    def _acquire(self, pattern: str, expected: str) -> str:
        """Acquire what ``pattern`` names; ``expected`` empty: whichever. Raises _Taken when somebody was faster."""
        self._orders.look()
        self._maybe = expected
        try:
            said = self._lab.ask("-p", pattern, "acquire")
        except LabRefused as refused:
            self._maybe = ""
            if any(sign in refused.said for sign in _TAKEN):
                raise _Taken from None
            raise PlaceAbsent(
                f"{self._wanted} cannot be acquired: {refused.said}",
                hint=f"does its exporter run? 'labgrid-client -p {expected or self._wanted.place} show'",
            ) from None
        acquired = printable(match[1].encode(), 200) if (match := _ACQUIRED.search(said)) else expected
        self._maybe = acquired
        if expected and acquired != expected:
            raise FinalFault(f"labgrid acquired place {acquired!r} in place of {expected!r}")
        return acquired

    def _by_reservation(self, end: Deadline, busy: PlaceHeld) -> str:
        """Queue as everybody does. The coordinator keeps what it has allocated for a minute after the last question;
        ``labgrid-client wait`` asks each second."""
        said = self._lab.ask("reserve", "--shell", *self._wanted.filters)
        token = match[1] if (match := _TOKEN.search(said + "\n")) else ""
        if not token:
            raise BenchFault(f"labgrid made no reservation: {printable(said.encode(), 200)}")
        try:
            while True:
                with self._waiting(token) as child:
                    while child.poll() is None:
                        if end.passed:
                            raise busy
                        self._orders.look(within=0.2)
                try:
                    return self._acquire(f"+{token}", self._wanted.place)
                except _Taken:  # by hand, past the reservation
                    if end.passed:
                        raise busy from None
        finally:
            with contextlib.suppress(HarnessError):  # else it is over within a minute
                self._lab.ask("cancel-reservation", token)

    @contextmanager
    def _waiting(self, token: str) -> Iterator[subprocess.Popen[bytes]]:
        child = subprocess.Popen(
            self._lab.command("wait", token),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self._lab.environment(),
            start_new_session=True,
            preexec_fn=end_with_parent(),
        )
        try:
            yield child
        finally:
            kill_group(child)

    # -- having ----------------------------------------------------------------------------------

    def _confirmed(self, place: str) -> PlaceNews:
        """News of the place from the monitor, once it has told of its being ours."""
        assert self._monitor is not None
        news, end = PlaceNews(place), Deadline(_MONITOR_PATIENCE)
        while news.acquired != self._owner:
            if end.passed or self._monitor.ended:
                raise FinalFault(
                    f"place {place!r} was acquired, and 'labgrid-client monitor' tells nothing of it",
                    hint="try it by hand; labgrid 26 is known to work",
                )
            if self._orders.look(self._monitor.descriptor, within=end.left):
                for line in self._monitor.lines():
                    news.feed(line)
        return news

    def _watch_over(self, place: str, news: PlaceNews) -> None:
        """Until the run ends. Raises _Over."""
        while not (lost := self._lost(place, news)):
            assert self._monitor is not None
            if self._monitor.ended:
                lost = self._while_away(place)
                if lost:
                    break
                continue
            if self._orders.look(self._monitor.descriptor, within=_LOOK):
                for line in self._monitor.lines():
                    news.feed(line)
        _say("lost", text=lost)
        while True:
            self._orders.look(within=_LOOK)

    def _lost(self, place: str, news: PlaceNews) -> str:
        """Why the place is not ours any more, or of no use; empty while it is."""
        if news.deleted:
            self._maybe = ""
            return f"place {place!r} was deleted from the lab while it was in use"
        if news.acquired != self._owner:
            self._maybe = ""
            now = f"; now {holder(news.acquired)} has it" if news.acquired else ""
            return f"place {place!r} was released by somebody else while it was in use{now}"
        if news.gone:
            exporter = sorted(news.gone)[0].partition("/")[0]
            names = ", ".join(sorted(news.gone))
            return f"exporter {exporter!r} of place {place!r} is gone, or took back what it had exported: {names}"
        return ""

    def _while_away(self, place: str) -> str:
        """The coordinator is gone: nobody else can have the place until it is back. Empty when it is ours then."""
        _say("away", text=f"the lab's coordinator at {self._lab.address} is gone; the run goes on meanwhile")
        end = Deadline(AWAY_PATIENCE)
        while not end.passed:
            self._pause()
            try:
                if self._monitor is not None:
                    self._monitor.close()
                self._monitor = Monitor(self._lab)
                now = next((p for p in self._lab.places(max(5.0, end.left)) if p.name == place), None)
            except HarnessError:  # also one that is still starting, and refuses
                continue
            if now is None or now.acquired != self._owner:
                self._maybe = ""
                held = f"; now {now.held} has it" if now and now.held else ""
                return (
                    f"the lab's coordinator at {self._lab.address} came back and no longer knows that place {place!r} "
                    f"is ours{held}"
                )
            _say("back", text=f"the lab's coordinator is back, and place {place!r} is still ours")
            return ""
        return f"the lab's coordinator at {self._lab.address} is gone, and did not come back within {end.seconds:g} s"

    def _pause(self) -> None:
        end = Deadline(_AGAIN)
        while not end.passed:
            self._orders.look(within=end.left)

    # -- giving back -----------------------------------------------------------------------------

    def _release(self) -> None:
        if not self._maybe:
            _say("released")
            return
        end = Deadline(RELEASE_PATIENCE)
        while True:
            try:
                # Only if it is ours: who has taken it meanwhile is left alone.
                self._lab.ask("-p", self._maybe, "release-from", self._owner)
            except LabAway as away:
                _say("unreleased", text=away.message)
                if end.passed:
                    return
            except HarnessError as problem:
                said = problem.said if isinstance(problem, LabRefused) else ""
                over = any(sign in said for sign in _NOT_OURS)
                _say("released") if over else _say("unreleased", text=problem.message)
                return
            else:
                _say("released")
                return
            time.sleep(_AGAIN)


class _Taken(Exception):
    """Somebody was faster."""


def _busy(wanted: Wanted, fitting: list[Place]) -> PlaceHeld:
    held = [place for place in fitting if place.held]
    who = "; ".join(
        (f"{place.name} by " if wanted.tags else "by ")
        + place.held
        + (f" since {place.changed}" if place.acquired and place.changed else "")
        for place in held[:10]
    )
    waited = f"; waited {wanted.wait:g} s for it" if wanted.wait else ""
    what = str(wanted) if wanted.place else f"every place with {' '.join(wanted.filters)}"
    mine = any(place.acquired == own_name() for place in held)
    release = f"; 'labgrid-client -p {held[0].name} release' gives it back" if mine else ""
    return PlaceHeld(
        f"{what} is held{':' if wanted.tags else ''} {who or 'by somebody'}{waited}",
        hint=f"wait for it (--wait SECONDS), or ask who has it{release}",
    )


def _say(what: str, **fields: object) -> None:
    if isinstance(text := fields.get("text"), str):  # the lab has a say in it
        fields["text"] = printable(text.encode(), 1000)
    _send(json.dumps({"say": what, **fields}, default=str))


def _send(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # the run may be gone
        print(line, flush=True)


def main() -> None:
    """One line of input says what to take; the end of the input, or more of it, that it is over."""
    orders = Orders(0)
    orders.obey_signals()
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(0, 1)
        if not more:
            return
        line += more
    Keeper(Wanted.from_json(line.decode()), orders).run()
    with contextlib.suppress(OSError):  # nothing more is said, and Python's own last flush may not fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
