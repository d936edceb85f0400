"""What differs between two runs: verdicts, figures beyond noise, firmware, environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from harness.judging.compare import Measurement
from harness.kinds import Value, stored
from harness.results.change import Method, baseline_of
from harness.results.run_record import BoardRecord, RunRecord, ScenarioResult
from harness.results.series import Entry, histories, point_of
from harness.results.store import Store
from harness.results.suite_editions import KEY

#: A figure has moved when it differs by so many sigma; one in 15,000 of a normal scatter does so by chance.
_SIGMA = 4.0


@dataclass(frozen=True)
class Change:
    """``what`` is ``verdict``, ``figure``, ``firmware``, ``environment``, ``board`` or ``scenario``.

    ``before`` and ``after`` are None for what one of the runs has not. ``why`` says what makes a figure's move more
    than noise.
    """

    what: str
    board: str
    name: str
    before: Value | None
    after: Value | None
    unit: str = ""
    why: str = ""


def diff(store: Store, before: int, after: int) -> list[Change]:
    """All that differs between two runs. Raises UsageError for a run that is not there."""
    earlier, later = store.load_run(before), store.load_run(after)
    changes = _mapping("environment", "", earlier.environment, later.environment)
    boards = {board.id: board for board in earlier.boards}
    for board in later.boards:
        known = boards.pop(board.id, None)
        if known is None:
            changes.append(Change("board", board.id, "", None, board.outcome.value))
        else:
            changes += _board(store, earlier, known, board)
    changes += [Change("board", board.id, "", board.outcome.value, None) for board in boards.values()]
    return changes


def not_comparable(store: Store, before: int, after: int) -> list[str]:
    """Why two runs cannot be held against each other, in whole or for one board; what changed then says little."""
    runs = store.load_run(before, figures=False), store.load_run(after, figures=False)
    boards = [{board.id: board for board in run.boards} for run in runs]
    both = [name for name in boards[0] if name in boards[1]]
    if not both:
        ids = [", ".join(one) or "none" for one in boards]
        return [f"no board is in both runs: run {before} has {ids[0]}, run {after} has {ids[1]}"]
    told = []
    for name in both:
        scenarios = [{(s.suite, s.name) for s in one[name].scenarios} for one in boards]
        if all(scenarios) and not scenarios[0] & scenarios[1]:
            suites = [", ".join(sorted({suite for suite, _ in one})) for one in scenarios]
            told.append(
                f"{name}: no scenario is in both runs: run {before} has some of {suites[0]}, run {after} of {suites[1]}"
            )
    changed = [
        key.removeprefix(KEY)
        for key, edition in runs[0].environment.items()
        if key.startswith(KEY) and runs[1].environment.get(key, edition) != edition
    ]
    if changed:
        told.append(f"the suites were changed in between: {', '.join(sorted(changed))}")
    return told


def _mapping(what: str, board: str, before: Mapping[str, str], after: Mapping[str, str]) -> list[Change]:
    names = [*before, *(name for name in after if name not in before)]
    return [Change(what, board, n, before.get(n), after.get(n)) for n in names if before.get(n) != after.get(n)]


def _board(store: Store, run: RunRecord, before: BoardRecord, after: BoardRecord) -> list[Change]:
    changes = _mapping("firmware", after.id, vars(before.firmware), vars(after.firmware))
    if before.problem != after.problem:
        changes.append(Change("board", after.id, "problem", before.problem, after.problem))
    scenarios = _by_name(before)
    for key, scenario in _by_name(after).items():
        known = scenarios.pop(key, None)
        name = f"{scenario.suite}: {scenario.name}"
        if known is None:
            changes.append(Change("scenario", after.id, name, None, scenario.outcome.value))
            continue
        if known.outcome is not scenario.outcome:
            why = scenario.reason or known.reason
            changes.append(
                Change("verdict", after.id, name, known.outcome.value, scenario.outcome.value, why=why)
            )  # fmt: skip
        changes += _figures(store, run, before, known, scenario)
    changes += [Change("scenario", after.id, f"{s.suite}: {s.name}", s.outcome.value, None) for s in scenarios.values()]
    return changes


def _by_name(board: BoardRecord) -> dict[tuple[str, str], ScenarioResult]:
    return {(s.suite, s.name): s for s in board.scenarios}  # the last try counts


def _figures(
    store: Store, run: RunRecord, board: BoardRecord, before: ScenarioResult, after: ScenarioResult
) -> list[Change]:
    changes = []
    known = {m.name: m for m in before.measurements}
    for m in after.measurements:
        old = known.pop(m.name, None)
        name = f"{after.suite}: {after.name}: {m.name}"
        if old is None:
            changes.append(Change("figure", board.id, name, None, m.measured, m.unit))
        elif old.measured is None or m.measured is None:
            if old.measured != m.measured:
                changes.append(Change("figure", board.id, name, old.measured, m.measured, m.unit, _skipped(old, m)))
        elif old.measured != m.measured and (why := _moved(store, run, board, name, old, m)):
            changes.append(Change("figure", board.id, name, old.measured, m.measured, m.unit, why))
    gone = [m for m in known.values() if after.measurements]
    return changes + [
        Change("figure", board.id, f"{before.suite}: {before.name}: {m.name}", m.measured, None, m.unit) for m in gone
    ]


def _skipped(before: Measurement, after: Measurement) -> str:
    return f"skipped: {after.reason}" if after.measured is None else f"was skipped: {before.reason}"


def _moved(store: Store, run: RunRecord, board: BoardRecord, name: str, before: Measurement, after: Measurement) -> str:
    """Why the figure's change is more than noise; empty when it is not."""
    assert before.measured is not None and after.measured is not None
    if isinstance(before.measured, str) or isinstance(after.measured, str):
        return "another state"
    effect = stored(after.kind).history
    if effect is None:
        return ""
    moved = abs(float(after.measured) - float(before.measured))
    earlier = _earlier(store, run, board, name)
    baseline = baseline_of([point_of(e) for e in earlier[-Method.window :]], effect)
    if effect.exact and (baseline is None or baseline.exact):
        runs = baseline.runs if baseline else 1
        return f"it stood still for {runs} run{'s' if runs > 1 else ''}"
    if moved < effect.of(float(before.measured)):
        return ""
    if baseline is None or baseline.exact:
        scatter = max(point_of(_entry(m)).spread for m in (before, after))
        scatter, source = max(scatter, effect.of(float(before.measured)) / 4), "its samples; no baseline yet"
    else:
        scatter, source = baseline.scatter, f"{baseline.runs} runs"
    # Two figures differ here, each with its own scatter.
    sigma = moved / (scatter * 2**0.5)
    return f"{sigma:.1f} sigma by {source}" if sigma >= _SIGMA else ""


def _entry(m: Measurement) -> Entry:
    assert m.measured is not None
    return Entry(0, 0.0, m.measured, m.samples, m.verdict, "", "")


def _earlier(store: Store, run: RunRecord, board: BoardRecord, name: str) -> list[Entry]:
    """The figure's entries up to ``run``, of its segment without steps."""
    for history in histories(store, board.id, name.translate(_LITERAL), line=board.firmware.line):
        until = [e for e in history.entries if (e.started, e.run) <= (run.started, run.id)]
        steps = replace(history, entries=tuple(until)).judge().steps
        return until[steps[-1].first :] if steps else until
    return []


#: What fnmatch would take for a pattern, taken as it is.
_LITERAL = str.maketrans({"[": "[[]", "*": "[*]", "?": "[?]"})
