"""Figures are declared, then taken: what cannot be meant is refused where it stands."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.inventory.model import Limit as BoardLimit
from harness.judging.calibration import Calibration
from harness.judging.compare import Judge
from harness.judging.figures import Figure
from harness.judging.limits import at_most, exactly
from harness.judging.outcome import Outcome
from harness.kinds import BUILT_IN, COUNT, HEAP, RATIO, STATE, TIME, Equal, Kind
from harness.runtimes.interface import Facts

VM = Facts("micropython", "3.4.0; MicroPython v1.27.0 on 2026-01-01", "host", 4, "A", 56000, 774)
JUDGE = Judge(VM, VM, {})
LEAK = Figure("reload.leak", HEAP, limit=at_most(15, "B"))


def test_a_declaration_has_the_first_unit_of_its_kind() -> None:
    assert (LEAK.unit, Figure("x", TIME).unit, Figure("x", TIME, "s").unit) == ("B", "us", "s")
    assert Figure("x", COUNT, "edges").unit == "edges"


@pytest.mark.parametrize("kind", [k for k in BUILT_IN.values() if not k.any_unit])
def test_a_unit_that_its_kind_has_not_is_refused(kind: Kind) -> None:
    with pytest.raises(UsageError, match=rf"'x' is declared in 'kB'; expected for {kind.name}: {kind.units[0]}"):
        Figure("x", kind, "kB")


def test_an_unknown_kind_is_refused_at_the_declaration() -> None:
    with pytest.raises(UsageError) as caught:
        Figure("x", Kind("haep", "no such", ("B",), Equal()))
    assert "no kind of measurement 'haep'" in caught.value.message and "'heap'" in caught.value.hint
    with pytest.raises(UsageError, match="no kind of measurement"):
        Figure("x", "heap")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no kind of measurement"):
        Figure("x", replace(HEAP, digits=9))  # not the one of the table


def test_one_declaration_stands_for_many() -> None:
    woken = Figure("woken.{ms}_ms.{what}", STATE, limit=exactly("x"))
    one = woken.of(50, "cause")
    assert (one.name, one.family, one.places, one.limit) == ("woken.50_ms.cause", woken.name, 0, woken.limit)
    for words in ((), (50,), (50, "cause", 1)):
        with pytest.raises(UsageError, match="has 2 places to fill"):
            woken.of(*words)
    with pytest.raises(UsageError, match="stands for many"):
        JUDGE.take(woken, "x")


@given(st.lists(st.text("abc.{}_", max_size=5), min_size=2, max_size=2))
def test_words_fill_places_as_they_are(words: list[str]) -> None:
    assert Figure("a.{one}.{two}.z", COUNT).of(*words).name == f"a.{words[0]}.{words[1]}.z"


def test_a_figure_is_held_against_its_limit() -> None:
    found = JUDGE.take(LEAK, 16, 0, samples=[1, 2])
    assert (found.name, found.kind, found.unit, found.limit) == ("reload.leak", "heap", "B", "at most 15 B")
    assert (found.verdict, found.samples, found.bounds) == (Outcome.FAIL, (1, 2), at_most(15).bounds)
    assert JUDGE.take(Figure("x", COUNT), 3, limit=exactly(3)).verdict is Outcome.PASS


def test_one_limit_and_not_two_and_not_none() -> None:
    with pytest.raises(UsageError, match="declared with a limit .at most 15 B. and taken with another"):
        JUDGE.take(LEAK, 1, limit=at_most(20))
    with pytest.raises(UsageError, match="'x' has no limit"):
        JUDGE.take(Figure("x", COUNT), 1)


def test_a_number_is_a_number_and_a_text_a_text() -> None:
    with pytest.raises(UsageError, match="'reload.leak' is 'many'; heap is a number"):
        JUDGE.take(LEAK, "many")
    with pytest.raises(UsageError, match=r"'s' is 1 \(int\); state is a text"):
        JUDGE.take(Figure("s", STATE), 1, limit=exactly("1"))


def test_without_a_limit_the_rule_of_the_kind_holds() -> None:
    assert JUDGE.by_rule(Figure("n", COUNT), 3, 4).limit == "exactly 4"
    time = JUDGE.by_rule(Figure("t", TIME), 200, 100, calibration=Calibration(2.0, 0.01, ()))
    assert (time.reference, time.verdict) == (200.0, Outcome.PASS)
    with pytest.raises(UsageError, match="'r' cannot be held against the reference"):
        JUDGE.by_rule(Figure("r", RATIO), 1.0, 1.0)


def test_a_figure_that_does_not_decide_is_marginal_at_worst() -> None:
    telling = replace(COUNT, decides=False)
    figure = Figure("x", COUNT, limit=exactly(1))
    object.__setattr__(figure, "kind", telling)  # as if the table had it
    assert JUDGE.take(figure, 1).verdict is Outcome.PASS
    found = JUDGE.take(figure, 2)
    assert found.verdict is Outcome.MARGINAL
    assert found.bounds is not None and found.bounds.judge(2) is Outcome.MARGINAL  # as a certificate judges it again


def test_the_boards_own_limit_takes_the_place_of_the_declared_one() -> None:
    judge = Judge(VM, VM, {"reload.*": BoardLimit.model_validate({"max": 32, "why": "WiFi"})})
    found = judge.take(LEAK, 16)
    assert (found.verdict, found.limit) == (Outcome.PASS, "at most 32 B, by boards.yaml (WiFi)")


def test_a_skipped_figure_has_a_reason_and_no_value() -> None:
    found = JUDGE.skip(LEAK, "nobody knows")
    assert (found.measured, found.verdict, found.reason, found.limit) == (
        None, Outcome.SKIPPED, "nobody knows", "at most 15 B"
    )  # fmt: skip
