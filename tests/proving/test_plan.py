"""What a soak injects, and that its verdict can be bad."""

from collections import Counter

import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.proving import soak as command
from harness.proving.soak_board import Episode
from harness.proving.soak_plan import plan
from harness.virtual.faults import KINDS


def test_the_same_seed_gives_the_same_plan_and_another_one_another() -> None:
    assert plan(100, 1) == plan(100, 1) != plan(100, 2)


def test_every_kind_comes_as_often_as_every_other_one() -> None:
    counts = Counter(one.kind for one in plan(3 * len(KINDS) + 5, 7))
    assert set(counts) == set(KINDS) and set(counts.values()) <= {3, 4}
    assert {one.action for one in plan(200, 1)} == {"measure", "upload", "flash", "version"}


def soaked(monkeypatch: pytest.MonkeyPatch, outcome: str, left: list[str]) -> int:
    """The exit code of a soak of one injection that ended so."""
    episode = Episode("vesp32", "drop", "measure", 1, outcome, "", 1.0, "reason \x1b[2J")
    monkeypatch.setattr(command, "_soak", lambda *_: ([episode], []))
    monkeypatch.setattr(command, "_left_behind", lambda *_: left)
    result = CliRunner().invoke(main, ["soak", "--faults", "--count", "1"])
    assert "\x1b[2J" not in result.output
    return result.exit_code


@pytest.mark.parametrize(("outcome", "code"), [("pass", 0), ("error", 0), ("fail", 1), ("wrong", 1), ("lost", 1)])
def test_only_recovered_and_error_are_well(monkeypatch: pytest.MonkeyPatch, outcome: str, code: int) -> None:
    assert soaked(monkeypatch, outcome, []) == code


def test_what_is_left_behind_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    assert soaked(monkeypatch, "pass", ["a lock"]) == 3


@pytest.mark.parametrize("arguments", [[], ["--faults", "--count", "0"], ["--faults", "--kinds", "gremlin"]])
def test_a_soak_of_nothing_is_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, ["soak", *arguments]).exit_code == 2


def test_faults_end_well_on_a_real_virtual_board() -> None:
    result = CliRunner().invoke(main, ["soak", "--faults", "--count", "2", "--kinds", "flip,vanish"])
    assert result.exit_code == 0, result.output
    assert "0 ended badly; 0 things left behind" in result.output
