"""Each mutation of shared code is caught by what the table says, which passes without it."""

from __future__ import annotations

import functools

import pytest

from tests.mutations.__main__ import PAGE, page
from tests.mutations.applying import Mutation
from tests.mutations.catching import Ran, caught, run_tests
from tests.mutations.table import MUTATIONS

BY_SCENARIO = [one for one in MUTATIONS if one.by_scenario]
BY_TEST = [one for one in MUTATIONS if not one.by_scenario]


@functools.cache
def _without(catcher: str) -> str:
    return caught(None, catcher)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    return run_tests(BY_TEST, tmp_path_factory.mktemp("mutations"))


@pytest.mark.parametrize("mutation", BY_SCENARIO, ids=lambda one: one.name)
def test_a_scenario_catches_it(mutation: Mutation) -> None:
    assert _without(mutation.catcher) == ""
    assert caught(mutation, mutation.catcher) != ""


@pytest.mark.parametrize("mutation", BY_TEST, ids=lambda one: one.name)
def test_a_test_catches_it(mutation: Mutation, ran: dict[str, Ran]) -> None:
    assert ran[mutation.name].without == ""
    assert ran[mutation.name].with_it != ""


def test_the_page_lists_each_mutation() -> None:
    """Written by ``python -m tests.mutations --write``; what a catcher said may change with its words."""
    listed = [line.rpartition(" | ")[0] for line in PAGE.read_text().splitlines()]
    wanted = page({one.name: "" for one in MUTATIONS})
    assert listed == [line.rpartition(" | ")[0] for line in wanted.splitlines()]
    assert len({one.name for one in MUTATIONS}) == len(MUTATIONS)


def test_a_mutation_that_changes_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row whose text is not in the code any more is an error, and no mutation that is missed."""
    from tests.mutations.applying import apply

    gone = Mutation("gone", "", "", "harness.reference.timeline:Timeline.cancel", "not in there", "pass", "")
    with pytest.raises(AssertionError, match="not once"):
        apply(gone, monkeypatch)
