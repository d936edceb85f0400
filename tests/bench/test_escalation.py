"""Escalation: no further than needed, each step bounded, and what is said when nothing helps."""

from collections.abc import Callable

import pytest

from harness.bench.escalation import RecoveryStep, escalate
from harness.errors import BenchFault, FinalFault, FirmwareFailure, PlaceLost
from harness.link.deadline import Deadline, driven_by
from harness.link.session import Session
from tests.hostile.hostile_lines import HostilePort


def escalated(*ends: Exception | None, budget: float = 100.0) -> tuple[list[str], Callable[[], str]]:
    """Steps that end as ``ends`` say: the names of those that were tried, and the escalation."""
    tried: list[str] = []

    def step(name: str, end: Exception | None) -> RecoveryStep:
        def attempt() -> None:
            if end is not None:
                raise end

        return RecoveryStep(name, 10.0, attempt)

    steps = [step(f"step {number}", end) for number, end in enumerate(ends)]
    session = Session(HostilePort(iter([])))
    return tried, lambda: escalate(steps, session.limited, tried.append, budget=budget)


def test_it_stops_at_the_first_step_that_helps() -> None:
    tried, action = escalated(BenchFault("no"), None, None)
    assert action() == "step 1"
    assert tried == ["step 0", "step 1"]


def test_a_crash_on_the_way_is_a_step_that_did_not_help() -> None:
    _, action = escalated(FirmwareFailure("crashed"), None)
    assert action() == "step 1"


def test_nothing_more_is_done_to_a_board_that_is_not_ours_any_more() -> None:
    tried, action = escalated(BenchFault("no"), PlaceLost("released by somebody else"), None)
    with pytest.raises(PlaceLost):
        action()
    assert tried == ["step 0", "step 1"]


def test_what_no_trying_mends_stays_that() -> None:
    _, action = escalated(BenchFault("no"), FinalFault("boards were swapped"))
    with pytest.raises(FinalFault, match="^boards were swapped"):
        action()


def test_when_nothing_helps_each_step_is_told() -> None:
    _, action = escalated(BenchFault("too tired"), BenchFault("too late"))
    with pytest.raises(BenchFault, match="step 0: too tired; step 1: too late"):
        action()


def test_the_budget_ends_it() -> None:
    now = [0.0]
    tried: list[str] = []

    def slow() -> None:
        now[0] += 40.0
        raise BenchFault("nothing")

    steps = [RecoveryStep(f"step {number}", 30.0, slow) for number in range(5)]
    session = Session(HostilePort(iter([])))
    with driven_by(lambda: now[0]), pytest.raises(BenchFault, match="budget of 60 s was over before 'step 2'"):
        escalate(steps, session.limited, tried.append, budget=60.0)
    assert tried == ["step 0", "step 1"]


def test_inside_a_limit_no_wait_lasts_longer_than_it() -> None:
    now = [0.0]

    class Slow(HostilePort):
        def read(self, size: int = 1) -> bytes:
            now[0] += self.timeout or 0.0
            return b""

    session = Session(Slow(iter([])))
    with driven_by(lambda: now[0]):
        with session.limited(Deadline(3.0)):
            session.read_until(b"x", idle=20.0, deadline=50.0)
            assert now[0] == pytest.approx(3.0)
            with pytest.raises(BenchFault, match="longer than"):
                session.write(b"x")
        session.write(b"x")
