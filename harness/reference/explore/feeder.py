"""Jobs that a generator asks for, one at a time, and the runs that it is sent."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Generic, TypeVar

Job = TypeVar("Job")
Run = TypeVar("Run")
Result = TypeVar("Result")


class Feeder(Generic[Job, Run, Result]):
    """The generator, with the job that is not done yet. ``result`` is what it returned, once ``finished``."""

    def __init__(self, jobs: Generator[Job, Run, Result]) -> None:
        self._jobs = jobs
        self.result: tuple[Result] | None = None
        self.job: Job | None = None
        self.finished = False
        self._next(lambda: next(jobs))

    def deliver(self, run: Run) -> None:
        self._next(lambda: self._jobs.send(run))

    def _next(self, step: Callable[[], Job]) -> None:
        try:
            self.job = step()
        except StopIteration as end:
            self.result, self.job, self.finished = (end.value,), None, True
