"""A limit of boards.yaml that is held against nothing is told, with the figure that was meant."""

from pathlib import Path

import pytest

from harness.bench.firmware_record import FirmwareRecord
from harness.campaigns.unused_limits import unused_limits
from harness.inventory.load import load_bench
from harness.judging.compare import Measurement
from harness.judging.outcome import Outcome
from harness.results.run_record import BoardRecord, ScenarioResult
from harness.results.store import Store


def store_with(folder: Path, *runs: tuple[str, ...]) -> Store:
    """Runs of board b1 with figures of these names."""
    store = Store(folder / "s.sqlite")
    for names in runs:
        run = store.start_run("harness run")
        store.record_board(run, BoardRecord("b1", "esp32", FirmwareRecord("", "", "")))
        figures = tuple(Measurement(name, "time", "s", 1.0, 1.0, "at most 2", Outcome.PASS) for name in names)
        store.record_scenario(run, "b1", ScenarioResult("mine", "one", Outcome.PASS, measurements=figures))
        store.finish_run(run)
    return store


def told(folder: Path, patterns: list[str], *runs: tuple[str, ...], everything: bool = True) -> list[str]:
    limits = "".join(f"      {pattern!r}: {{max: 3}}\n" for pattern in patterns)
    (folder / "boards.yaml").write_text(
        "boards:\n  - id: b1\n    chip: esp32\n    runtime: micropython\n    virtual: {}\n    limits:\n" + limits
    )
    store = store_with(folder, *runs)
    boards = load_bench(folder / "boards.yaml").boards
    return unused_limits(boards, store.load_run(len(runs)), store, everything=everything)


@pytest.mark.parametrize(
    ("patterns", "sentences"),
    [
        (["sleep.clock_scale", "run.*"], []),
        (["sleep.clock_scal"], ["fits no figure; did you mean 'sleep.clock_scale'?"]),
        (["Sleep.*"], ["fits no figure; did you mean 'sleep.clock_scale'?"]),
        (["quite.other.things"], ["fits no figure"]),
        (["sleep.*", "sleep.clock_scale"], ["never applies: 'sleep.*' stands before it and fits the same"]),
        (["sleep.clock_scale", "sleep.*"], []),
    ],
)
def test_a_pattern_that_applies_to_nothing_is_told(tmp_path: Path, patterns: list[str], sentences: list[str]) -> None:
    found = told(tmp_path, patterns, ("sleep.clock_scale", "sleep.50_ms.least", "run.time"))
    assert [words.partition("of boards.yaml ")[2] for words in found] == sentences


def test_a_limit_on_a_figure_that_was_not_asked_this_time_is_silent(tmp_path: Path) -> None:
    runs = ("sleep.clock_scale",), ("run.time",)
    assert told(tmp_path, ["sleep.*"], *runs, everything=False) == []
    (tmp_path / "s.sqlite").unlink()
    assert told(tmp_path, ["sleep.*"], *runs) == ["b1: the limit 'sleep.*' of boards.yaml fits no figure"]


def test_in_the_first_run_of_one_suite_a_limit_on_another_ones_figure_is_silent(tmp_path: Path) -> None:
    assert told(tmp_path, ["sleep.clock_scale", "sleep.*"], ("blocks.too_small",), everything=False) == []


def test_a_misspelt_limit_is_told_when_only_some_were_asked(tmp_path: Path) -> None:
    found = told(tmp_path, ["sleep.clock_scal"], ("sleep.clock_scale", "run.time"), everything=False)
    assert [words.partition("of boards.yaml ")[2] for words in found] == [
        "fits no figure; did you mean 'sleep.clock_scale'?"
    ]


def test_a_board_that_gave_no_figure_at_all_says_nothing_about_its_limits(tmp_path: Path) -> None:
    assert told(tmp_path, ["sleep.*"], ()) == []
