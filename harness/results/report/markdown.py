"""A run as Markdown, for the summary page of a CI step: what is wrong first, and short.

GitHub-flavoured tables (GitHub Flavored Markdown Spec, section 4.10). Board text goes into code spans alone, without
control characters and back-ticks, so that it is neither markup nor HTML.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.judging.outcome import Outcome, worst
from harness.results.before import changes
from harness.results.run_record import BoardRecord, RunRecord, ScenarioResult
from harness.shown import plain

_SIGNS = {
    Outcome.PASS: "✅ pass",
    Outcome.MARGINAL: "⚠️ marginal",
    Outcome.FAIL: "❌ fail",
    Outcome.ERROR: "🟣 error",
    Outcome.BROKEN: "🟣 broken suite",
    Outcome.SKIPPED: "skipped",
}
_ORDER = (Outcome.FAIL, Outcome.ERROR, Outcome.BROKEN, Outcome.MARGINAL)
_MOST = 50


def run_to_markdown(run: RunRecord, before: RunRecord | None = None) -> str:
    """``before`` is the run that this one is held against: what changed its outcome is told first."""
    return "\n".join(_lines(run, before)) + "\n"


def _lines(run: RunRecord, before: RunRecord | None) -> Iterator[str]:
    end = run.finished or max((s.started + s.seconds for b in run.boards for s in b.scenarios), default=run.started)
    yield f"## {_SIGNS[run.outcome]}: run {run.id}, {len(run.boards)} boards in {(end - run.started) / 60:.1f} min"
    yield ""
    if run.interrupted:
        yield "**This run did not come to its end.** What had finished is below.\n"
    if before is not None:
        yield from _changes(run, before)
    yield from _glance(run)
    yield from _attention(run)


def _changes(run: RunRecord, before: RunRecord) -> Iterator[str]:
    changed = changes(run, before)
    yield f"### Changed since run {before.id}"
    yield ""
    if not changed:
        yield "No scenario has another outcome.\n"
        return
    yield "| board | scenario | was | is |"
    yield "|---|---|---|---|"
    for board_id, scenario, was in changed[:_MOST]:
        yield f"| {_code(board_id)} | {_title(scenario)} | {was.value} | {_SIGNS[scenario.outcome]} |"
    yield from _rest(len(changed))
    yield ""


def _glance(run: RunRecord) -> Iterator[str]:
    """Board by suite."""
    suites = list(dict.fromkeys(s.suite for b in run.boards for s in b.scenarios))
    yield "| board | firmware | " + " | ".join(_code(suite) for suite in suites) + " |"
    yield "|---|---|" + "---|" * len(suites)
    for board in run.boards:
        cells = [_cell(board, suite) for suite in suites]
        yield f"| {_code(board.id)} | {_code(board.firmware.version or '-')} | " + " | ".join(cells) + " |"
    yield ""


def _cell(board: BoardRecord, suite: str) -> str:
    outcomes = [s.outcome for s in board.scenarios if s.suite == suite]
    if not outcomes:
        return "-"
    bad = sum(outcome in _ORDER for outcome in outcomes)
    return f"{_SIGNS[worst(outcomes)]}" + (f" ({bad} of {len(outcomes)})" if bad else "")


def _attention(run: RunRecord) -> Iterator[str]:
    told = [(Outcome.ERROR, board.id, "", board.problem) for board in run.boards if board.problem]
    told += [
        (s.outcome, board.id, _title(s), s.reason)
        for board in run.boards
        for s in board.scenarios
        if s.outcome in _ORDER and s.reason != board.problem
    ]
    if not told:
        return
    yield "### What to look at"
    yield ""
    for outcome, board_id, title, reason in sorted(told, key=lambda row: _ORDER.index(row[0]))[:_MOST]:
        yield f"- {_SIGNS[outcome]} {_code(board_id)} {title}: {_code(reason)}"
    yield from _rest(len(told))


def _rest(count: int) -> Iterator[str]:
    if count > _MOST:
        yield f"\n… and {count - _MOST} more."


def _title(scenario: ScenarioResult) -> str:
    return _code(f"{scenario.suite}: {scenario.name.replace('_', ' ')}")


def _code(text: str) -> str:
    return f"`{plain(text, 300).replace('`', chr(39)).replace('|', '/').replace(chr(10), ' ').strip() or '-'}`"
