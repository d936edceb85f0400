"""The page over many runs: the bench at a glance, and each board's last runs side by side."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from harness.judging.outcome import Outcome, worst
from harness.paths import unwritable
from harness.results.report.html import badge, day, html_page, safe_text
from harness.results.run_record import RunRecord
from harness.results.summaries import BoardSummary, RunSummary, summary_of, whole_night

_SIGNS = {
    Outcome.PASS: "●",
    Outcome.MARGINAL: "◐",
    Outcome.FAIL: "✕",
    Outcome.ERROR: "!",
    Outcome.BROKEN: "‼",
    Outcome.SKIPPED: "–",
}
_COLUMNS = 14


def write_index(runs: Sequence[RunRecord], path: Path) -> None:
    """``runs`` newest first. Pages of single runs are linked where they stand beside it. Raises UsageError."""
    pages = {run.id for run in runs if (path.parent / f"run-{run.id}.html").exists()}
    try:
        path.write_text(index_to_html(runs, pages), "utf-8")
    except OSError as problem:
        raise unwritable(path, problem) from None


def index_to_html(runs: Sequence[RunRecord], pages: Collection[int] = ()) -> str:
    newest = runs[0]
    body = [
        f'<header><div class="title"><h1>The bench</h1>{badge(newest.outcome)}</div>',
        f"<p>{len(newest.boards)} boards; newest run {newest.id}, {day(newest.started)}</p></header>",
        *index_body([summary_of(run) for run in runs], pages),
    ]
    return html_page("The bench", body)


def index_body(runs: Sequence[RunSummary], pages: Collection[int]) -> list[str]:
    """The newest run at a glance, with the rest of its night where hosts shared that; the last ones board by board,
    and the list of them."""
    return [*_glance(whole_night(runs)), *_boards(runs[:_COLUMNS], pages), *_runs(runs, pages)]


def _glance(run: RunSummary) -> Iterator[str]:
    suites = list(dict.fromkeys(suite for board in run.boards for suite in board.suites))
    yield "<section><h3>Board by suite</h3><div class='scroll'><table class='grid'><thead><tr><th>board</th>"
    yield "".join(f"<th>{safe_text(suite)}</th>" for suite in suites) + "</tr></thead><tbody>"
    for board in run.boards:
        yield f"<tr><td><b>{safe_text(board.id)}</b><br><span class='soft'>{safe_text(board.firmware.version)}</span>"
        if board.problem:
            yield f"<p class='reason error'>{safe_text(board.problem, 300)}</p>"
        yield "</td>" + "".join(_cell(board, suite) for suite in suites) + "</tr>"
    yield "</tbody></table></div></section>"


def _cell(board: BoardSummary, suite: str) -> str:
    outcomes = board.suites.get(suite)
    if not outcomes:
        return "<td class='soft'>–</td>"
    judged = sum(count for outcome, count in outcomes.items() if outcome is not Outcome.SKIPPED)
    good = outcomes.get(Outcome.PASS, 0)
    return f"<td>{badge(worst(outcomes))}<br><span class='soft'>{good} of {judged}</span></td>"


def _boards(runs: Sequence[RunSummary], pages: Collection[int]) -> Iterator[str]:
    """Each board's outcome in the last runs, oldest first."""
    names = list(dict.fromkeys(board.id for run in runs for board in run.boards))
    ordered = list(reversed(runs))
    outcomes = [{board.id: board.outcome for board in run.boards} for run in ordered]
    yield "<section><h3>The last runs, board by board</h3><div class='scroll'><table class='grid'><thead><tr>"
    yield "<th>board</th>"
    yield "".join(f"<th>{_link(run, pages)}</th>" for run in ordered) + "</tr></thead><tbody>"
    for name in names:
        yield f"<tr><td>{safe_text(name)}</td>"
        for run in outcomes:
            outcome = run.get(name)
            if outcome is None:
                yield "<td></td>"
            else:
                yield f'<td class="{outcome.value}" title="{outcome.value}">{_SIGNS[outcome]}</td>'
        yield "</tr>"
    signs = ", ".join(f"{sign} {outcome.value}" for outcome, sign in _SIGNS.items())
    yield f"</tbody></table></div><p class='soft'>{signs}</p></section>"


def _runs(runs: Sequence[RunSummary], pages: Collection[int]) -> Iterator[str]:
    yield "<section><h3>Runs</h3><div class='scroll'><table class='grid'><thead><tr><th>run</th><th>began</th>"
    yield "<th>outcome</th><th>scenarios</th><th>command</th></tr></thead><tbody>"
    for run in runs:
        told = outcomes_words(run.counts)
        yield f"<tr><td>{_link(run, pages)}</td><td>{day(run.started)}</td><td>{badge(run.outcome)}</td>"
        yield f"<td>{told}{' (did not end)' if run.interrupted else ''}</td>"
        yield f"<td><code>{safe_text(run.command, 120)}</code></td></tr>"
    yield "</tbody></table></div></section>"


def outcomes_words(counts: Mapping[Outcome, int]) -> str:
    """How many had which outcome."""
    return ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome if counts.get(outcome))


def _link(run: RunSummary, pages: Collection[int]) -> str:
    return f'<a href="run-{run.id}.html">{run.id}</a>' if run.id in pages else str(run.id)
