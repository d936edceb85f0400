"""Export, import and merge: nothing lost, nothing twice, nothing overwritten."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.bench.firmware_record import FirmwareRecord
from harness.errors import UsageError
from harness.judging.calibration import Calibration, Point
from harness.judging.compare import Measurement
from harness.judging.limits import Bounds
from harness.judging.outcome import Outcome
from harness.kinds import BUILT_IN
from harness.results.exchange import export_lines, import_lines, merge
from harness.results.run_record import BoardRecord, Event, ScenarioResult
from harness.results.store import Store

BOARD = BoardRecord("b", "esp32", FirmwareRecord("fw.bin", "v1.27.0", "ab" * 32), facts={"heap_total": 56000})
HEAP = Measurement("x", "heap", "B", 48, 48, "exactly 48 B", Outcome.PASS, "to the byte", (48, 64))
RESULT = ScenarioResult("reload", "leaks", Outcome.PASS, "", (HEAP,), 1.5, 1000.25, "transcripts/b.jsonl")


def filled(path: Path, scenarios: int = 2, *, finish: bool = True) -> Store:
    store = Store(path)
    run = store.start_run("harness run", environment={"host": path.name})
    store.record_board(run, BOARD)
    for index in range(scenarios):
        store.record_scenario(run, "b", replace(RESULT, name=f"n{index}"))
    store.record_event(run, "b", Event("recovery", "reset by its wiring", 1001.5, "reload: n0"))
    store.save_calibration("b", "aa", Calibration(1.5, 0.1, (Point("loop", 3.0, 2.0),)))
    if finish:
        store.finish_run(run)
    return store


def content(store: Store) -> list[str]:
    return list(export_lines(store))


_TEXT = st.text(max_size=12)  # surrogates, NUL and all
_FIGURE = st.one_of(st.integers(-(2**80), 2**80), st.floats(), _TEXT)
_NUMBER = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
_MEASUREMENT = st.builds(
    Measurement,
    name=_TEXT,
    kind=st.sampled_from(sorted(BUILT_IN)),
    unit=_TEXT,
    measured=_FIGURE,
    reference=st.none() | _FIGURE,
    limit=_TEXT,
    verdict=st.sampled_from([one for one in Outcome if one is not Outcome.SKIPPED]),
    rule=_TEXT,
    samples=st.lists(st.integers(0, 2**40) | st.floats(allow_nan=False), max_size=3).map(tuple),
    bounds=st.none() | st.builds(Bounds, *[st.none() | _NUMBER] * 4, equal=st.none() | _NUMBER | _TEXT),
)
_SKIPPED = st.builds(
    lambda m, reason: replace(m, measured=None, verdict=Outcome.SKIPPED, reason=reason), _MEASUREMENT, _TEXT
)
_SCENARIO = st.builds(
    ScenarioResult,
    suite=_TEXT,
    name=_TEXT,
    outcome=st.sampled_from(Outcome),
    reason=_TEXT,
    measurements=st.lists(_MEASUREMENT | _SKIPPED, max_size=3).map(tuple),
    seconds=st.floats(0, 1e6),
    started=st.floats(0, 1e10),
    transcript=_TEXT,
)
_EVENT = st.builds(Event, kind=_TEXT, text=_TEXT, at=st.floats(0, 1e10), scenario=_TEXT)


@settings(max_examples=25, deadline=None)
@given(st.lists(_SCENARIO, max_size=3), st.lists(_EVENT, max_size=2), _TEXT, _TEXT)
def test_what_is_exported_is_imported_as_it_was(
    scenarios: list[ScenarioResult], events: list[Event], name: str, problem: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store, other = Store(Path(folder) / "a"), Store(Path(folder) / "b")
        run = store.start_run(problem)
        store.record_board(run, replace(BOARD, id=name, problem=problem, firmware=FirmwareRecord(problem, "", "")))
        for scenario in scenarios:
            store.record_scenario(run, name, scenario)
        for event in events:
            store.record_event(run, name, event)
        lines = content(store)
        import_lines(other, lines)
        assert content(other) == lines
        assert repr(other.load_run(1)) == repr(store.load_run(run))  # repr: NaN is not equal to itself
        store.close()
        other.close()


def test_merging_twice_changes_nothing(tmp_path: Path) -> None:
    central, host = filled(tmp_path / "central"), filled(tmp_path / "host")
    report = merge(central, host)
    assert (report.runs, report.scenarios, report.events, report.conflicts) == (1, 2, 1, 0)
    once = content(central)
    again = merge(central, host)
    assert (again.runs, again.scenarios, again.events, again.calibrations, again.conflicts) == (0, 0, 0, 0, 0)
    assert content(central) == once


def test_stores_merged_in_any_order_hold_the_same(tmp_path: Path) -> None:
    hosts = [filled(tmp_path / f"host{n}", n + 1) for n in range(3)]
    one, other = Store(tmp_path / "one"), Store(tmp_path / "other")
    for host in hosts:
        merge(one, host)
    for host in reversed(hosts):
        merge(other, host)
    assert sorted(content(one)[:-1]) == sorted(content(other)[:-1])


def test_a_run_that_went_on_is_completed(tmp_path: Path) -> None:
    host, central = filled(tmp_path / "host", 1, finish=False), Store(tmp_path / "central")
    early = content(host)
    merge(central, host)
    assert central.latest().interrupted
    host.record_scenario(1, "b", replace(RESULT, name="late"))
    host.record_problem(1, "b", "the port vanished")
    host.finish_run(1)
    report = merge(central, host)
    assert (report.runs, report.scenarios) == (0, 1)
    assert content(central) == content(host)
    # And what was exported before it went on takes nothing back.
    report = import_lines(central, early)
    assert content(central) == content(host)


def test_a_record_that_differs_is_told_and_not_taken(tmp_path: Path) -> None:
    store = filled(tmp_path / "a")
    before = content(store)
    touched = [line.replace('"measured": 48', '"measured": 32', 1) for line in before]
    report = import_lines(store, touched)
    assert report.conflicts == 2
    assert report.named[0] == "scenario 0 (reload: n0) of b, run 1"
    assert content(store) == before


def test_the_newer_calibration_wins(tmp_path: Path) -> None:
    old, new = filled(tmp_path / "old"), filled(tmp_path / "new")
    new.save_calibration("b", "aa", Calibration(9.0, 0.1, ()))
    for target, source in ((old, new), (new, old)):
        merge(target, source)
        found = target.load_calibration("b", "aa")
        assert found is not None
        assert found.scale == 9.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: [], "line 1: is missing"),
        (lambda lines: lines[1:], "line 1: comes before"),
        (lambda lines: ['{"type": "store", "format": "x", "version": 9}\n'], "line 1: is version 9 of 'x'"),
        (lambda lines: [*lines[:3], lines[3][:40]], "line 4: is no JSON"),
        (lambda lines: [*lines[:3], "[" * 100_000], "line 4: is no JSON"),
        (lambda lines: [*lines[:1], lines[2]], "line 2: is a board of no run"),
        (lambda lines: [*lines[:2], lines[3]], "line 3: belongs to board 'b'"),
        (lambda lines: [*lines[:3], lines[4]], "line 4: is scenario 1 of its board, expected is 0"),
        (lambda lines: [*lines[:3], lines[3].replace('"pass"', '"perfect"', 1)], "line 4: outcome is 'perfect'"),
        (lambda lines: [*lines[:3], lines[3].replace('"measured": 48', '"measured": [1]')], "line 4: a figure is"),
        (lambda lines: [*lines[:3], lines[3].replace('"suite"', '"sweet"')], "line 4: has no 'suite'"),
        (lambda lines: [*lines[:2], lines[2].replace('"facts": {"heap_total": 56000}', '"facts": 3')], "line 3: "),
        (lambda lines: [lines[0], '{"type": "drop"}'], "line 2: is no record"),
    ],
)
def test_a_line_that_is_none_of_an_export_is_named(
    tmp_path: Path, change: Callable[[list[str]], list[str]], said: str
) -> None:
    lines = change(content(filled(tmp_path / "a")))
    target = Store(tmp_path / "b")
    with pytest.raises(UsageError, match=said):
        import_lines(target, lines, source="f")
    assert target.runs() == []


def test_the_runs_before_that_of_a_damaged_line_have_been_added_and_the_rest_can_follow(tmp_path: Path) -> None:
    store = filled(tmp_path / "a")
    store.record_board(store.start_run("second"), replace(BOARD, id="second"))
    lines = content(store)
    target = Store(tmp_path / "b")
    damaged = [line if '"id": "second"' not in line else line[:-9] for line in lines]
    with pytest.raises(UsageError):
        import_lines(target, damaged)
    assert len(target.runs()) == 1
    import_lines(target, lines)
    assert content(target) == lines


def test_an_export_of_one_run_holds_that_run_alone(tmp_path: Path) -> None:
    store = filled(tmp_path / "a")
    second = store.start_run("second")
    kinds = [(json.loads(line)["type"], json.loads(line).get("command")) for line in export_lines(store, [second])]
    assert kinds == [("store", None), ("run", "second")]
