"""The harness's end of a place: it is taken, asked after, and given back; a keeper process has it meanwhile."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.errors import FinalFault, HarnessError, PlaceLost
from harness.inventory.model import LabgridPlace
from harness.labgrid.client import PATIENCE, Lab, Resource, own_name
from harness.labgrid.keeper import REFUSALS, Wanted
from harness.link.deadline import Deadline

#: Longest time for taking a free place, and for anything but waiting, in seconds: some questions, each bounded.
_TAKING = 6 * PATIENCE
#: How long the end of a run waits for the place to be given back, in seconds. The keeper tries on for longer.
RELEASE_WITHIN = 8.0


@dataclass(frozen=True)
class Held:
    """The place that was acquired, and what it has."""

    place: str
    resources: tuple[Resource, ...]


class Lease:
    """Made before anything is acquired; :meth:`take` does that, :meth:`release` gives it back, in any state.

    ``lost`` is called, from another thread, as soon as the place is not ours any more.
    """

    def __init__(self, wanted: LabgridPlace, wait: float, lost: Callable[[], None]) -> None:
        self.lab = Lab.of(wanted)
        self._wanted = wanted
        self._wait = wait
        self._on_lost = lost
        self._news: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._lost = threading.Event()
        self._why = ""
        #: What has happened since it was last asked: kind and words.
        self.events: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self.held: Held | None = None
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "harness.labgrid.keeper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # neither Ctrl-C nor the end of our process group is for it
        )
        order = Wanted(self.lab, wanted.place or "", dict(wanted.tags or {}), wait).as_json()
        assert self._keeper.stdin is not None
        self._keeper.stdin.write(order.encode() + b"\n")
        self._keeper.stdin.flush()
        threading.Thread(target=self._listen, name="place of a lab", daemon=True).start()

    def take(self, report: Callable[[str], None]) -> Held:
        """Wait until the place is ours; ``report`` hears for whom. Raises FinalFault that says why it is not."""
        patience = _TAKING + self._wait
        while True:
            try:
                news = self._news.get(timeout=patience)
            except queue.Empty:
                raise FinalFault(f"the lab at {self.lab.address}: nothing was heard for {patience:g} s") from None
            match news["say"]:
                case "waiting":
                    report(f"waiting for {news['text']}")
                case "held":
                    self.held = Held(news["place"], tuple(Resource(**r) for r in news["resources"]))
                    return self.held
                case "refused":
                    raise REFUSALS.get(news["kind"], FinalFault)(news["text"], hint=news["hint"])
                case "end":
                    raise FinalFault(
                        "the process that takes places of the lab has ended", hint="is it still installed?"
                    )

    def why_lost(self, patience: float = 0.0) -> PlaceLost | None:
        """Why the place is of no use any more; None while it is ours. What is just happening may take ``patience``
        seconds to be heard of."""
        if patience:
            self._lost.wait(patience)
        return (
            PlaceLost(self._why, hint="'labgrid-client who' and 'show' tell how the lab is now") if self._why else None
        )

    def release(self) -> str:
        """Give the place back; why that is not done yet, or empty."""
        with contextlib.suppress(OSError):
            if self._keeper.stdin is not None:
                self._keeper.stdin.close()
        end, why = Deadline(RELEASE_WITHIN), "it does not answer"
        while not end.passed:
            try:
                news = self._news.get(timeout=end.left)
            except queue.Empty:
                break
            if news["say"] == "unreleased":
                why = news["text"]
            elif news["say"] == "released":
                self._keeper.wait()  # it has nothing more to do
                return ""
            elif news["say"] == "end":
                return self._without_keeper(why, end)
        return (
            f"place {self._place!r} is not given back yet, which is tried for some minutes more: {why}{self._by_hand}"
        )

    @property
    def _place(self) -> str:
        return self._known or "of the lab"

    @property
    def _known(self) -> str:
        """Its name; empty as long as any that fits will do."""
        return self.held.place if self.held else self._wanted.place or ""

    @property
    def _by_hand(self) -> str:
        return f"; by hand: labgrid-client -p {self._known} release" if self._known else ""

    def _without_keeper(self, why: str, end: Deadline) -> str:
        """It was killed, or had to give up."""
        self._keeper.wait()
        if self.held is None:
            return ""
        try:
            self.lab.ask("-p", self._place, "release-from", own_name(), timeout=max(1.0, end.left))
        except HarnessError as problem:
            return f"place {self._place!r} was not given back: {problem.message or why}{self._by_hand}"
        return ""

    def _listen(self) -> None:
        assert self._keeper.stdout is not None
        for line in self._keeper.stdout:
            with contextlib.suppress(ValueError):
                news = json.loads(line)
                if news["say"] in ("away", "back"):
                    self.events.put(("lab", news["text"]))
                elif news["say"] == "lost":
                    self._losing(news["text"])
                else:
                    self._news.put(news)
        if self.held is not None and self._keeper.stdin is not None and not self._keeper.stdin.closed:
            self._losing(f"the process that has place {self.held.place!r} for us was killed; it may still be acquired")
        self._news.put({"say": "end"})

    def _losing(self, why: str) -> None:
        self._why = why
        self._lost.set()
        self.events.put(("lab", why))
        self._on_lost()
