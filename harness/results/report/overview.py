"""What a run's page begins with: the bench at a glance, what changed since the run before, what was slow."""

from __future__ import annotations

from collections.abc import Iterator

from harness.judging.outcome import Outcome, worst
from harness.results.before import changes
from harness.results.report.html import badge, safe_text
from harness.results.run_record import BoardRecord, RunRecord, ScenarioResult

#: Rows of a table here; the rest is counted.
_MOST = 30
_SLOWEST = 5
#: A run in which nothing took this many seconds has nothing slow to tell.
_SLOW = 5.0


def overview(run: RunRecord, before: RunRecord | None) -> Iterator[str]:
    yield "<section><h3>The bench at a glance</h3>"
    yield from _glance(run)
    if before is not None:
        yield from _changed(run, before)
    yield from _slow(run)
    yield "</section>"


def _glance(run: RunRecord) -> Iterator[str]:
    suites = list(dict.fromkeys(s.suite for board in run.boards for s in board.scenarios))
    yield "<div class='scroll'><table class='grid'><thead><tr><th>board</th>"
    yield "".join(f"<th>{safe_text(suite.replace('_', ' '))}</th>" for suite in suites) + "</tr></thead><tbody>"
    for board in run.boards:
        yield f"<tr><td>{safe_text(board.id)}</td>"
        if board.problem and not board.scenarios:
            yield f"<td colspan='{max(1, len(suites))}' class='error reason'>{safe_text(board.problem, 160)}</td>"
        else:
            yield "".join(_cell(board, suite) for suite in suites)
        yield "</tr>"
    yield "</tbody></table></div>"


def _cell(board: BoardRecord, suite: str) -> str:
    outcomes = [s.outcome for s in board.scenarios if s.suite == suite]
    if not outcomes:
        return "<td class='soft'>–</td>"
    state = worst(outcomes)
    run = sum(outcome is not Outcome.SKIPPED for outcome in outcomes)
    good = sum(outcome in (Outcome.PASS, Outcome.MARGINAL) for outcome in outcomes)
    words = f"{good} of {run}" if run else "skipped"
    return f'<td class="{state.value}">{words}{"" if state is Outcome.PASS or not run else f" {state.value}"}</td>'


def _changed(run: RunRecord, before: RunRecord) -> Iterator[str]:
    changed = changes(run, before)
    yield f"<h3 class='next'>Changed since run {before.id}</h3>"
    if not changed:
        yield "<p class='soft'>No scenario has another outcome.</p>"
        return
    yield "<ul>"
    for board, scenario, was in changed[:_MOST]:
        yield f"<li>{badge(scenario.outcome)} <b>{safe_text(board)}</b> {_title(scenario)}"
        yield f" <span class='soft'>was {was.value}</span></li>"
    if len(changed) > _MOST:
        yield f"<li>and {len(changed) - _MOST} more</li>"
    yield "</ul>"


def _slow(run: RunRecord) -> Iterator[str]:
    every = [(s.seconds, board.id, s) for board in run.boards for s in board.scenarios]
    slowest = sorted(every, key=lambda row: -row[0])[:_SLOWEST]
    if not slowest or slowest[0][0] < _SLOW:
        return
    whole = sum(seconds for seconds, _, _ in every)
    yield "<h3 class='next'>What took longest</h3><ul>"
    for seconds, board, scenario in slowest:
        share = f"{100 * seconds / whole:.0f} % of all scenarios' time"
        yield f"<li>{seconds:.1f} s <b>{safe_text(board)}</b> {_title(scenario)} <span class='soft'>{share}</span></li>"
    yield "</ul>"


def _title(scenario: ScenarioResult) -> str:
    return safe_text(f"{scenario.suite}: {scenario.name.replace('_', ' ')}", 200)
