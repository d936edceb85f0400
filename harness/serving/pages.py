"""The pages, as HTML. What a board, a bench file or a store says is escaped by the one way that reports have."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from harness.bench.health import HealthBook, State
from harness.errors import HarnessError, UsageError
from harness.inventory.load import load_bench
from harness.inventory.locks import seen_owner
from harness.results.before import run_before
from harness.results.flaky import flakiness
from harness.results.report.html import badge, day, figure, html_page, run_to_html, safe_text
from harness.results.report.nightly_index import index_body, outcomes_words
from harness.results.report.plots import history_svg, trend_svg, trends_of
from harness.results.series import History, boards_with, figure_histories, is_known, newest_run, recent_histories
from harness.results.store import Store
from harness.results.summaries import RunSummary, run_summaries, summary_of
from harness.serving.app import Served

_RUNS = 60
#: Of one figure, how many days back from the newest run; fewer where more than so many boards have it.
_DAYS, _FEWER_DAYS, _MANY_BOARDS = 183, 30, 40
#: Of a board, how many runs are listed; flaky scenarios are looked for in ``_DAYS`` as well.
_LISTED = 20
#: A run without an end goes on as long as something came in the last so many seconds.
_QUIET = 900.0
#: Seconds after which a page of something that goes on is asked for again.
_AGAIN = 5


# -- the bench -----------------------------------------------------------------------------------


def bench_page(served: Served) -> str:
    """The boards as they are now, tonight's run, and the last runs."""
    body = ["<header><h1>The bench</h1></header>", *_boards_now(served), *_certificates(served)]
    runs: list[RunSummary] = []
    if not isinstance(served.store, Path) or served.store.exists():
        store = Store(served.store)
        try:
            runs = run_summaries(store, _RUNS)
        finally:
            store.close()
    going = [run for run in runs if goes_on(run)]
    body[1:1] = list(_going_on(going))
    body += index_body(runs, [run.id for run in runs]) if runs else ["<p class='soft'>No run is in the store yet.</p>"]
    return html_page("The bench", body, again=_AGAIN if going else 0)


def goes_on(run: RunSummary) -> bool:
    """Whether it has no end yet, and something came of it lately."""
    return run.interrupted and time.time() - run.heard < _QUIET


def _going_on(runs: list[RunSummary]) -> Iterator[str]:
    for run in runs:
        yield f"<section><h3>Goes on: <a href='run-{run.id}.html'>run {run.id}</a></h3><ul>"
        for board in run.boards:
            last = board.last.replace("_", " ") or "being made ready"
            yield f"<li>{badge(board.outcome)} <b>{safe_text(board.id)}</b> {board.counts.total()} scenarios, "
            yield f"the last: {safe_text(last, 120)}</li>"
        yield "</ul></section>"


def _boards_now(served: Served) -> Iterator[str]:
    try:
        bench = load_bench(served.bench_file, check_files=False)
    except HarnessError as problem:
        yield f"<section><p class='reason error'>{safe_text(str(problem))}</p></section>"
        return
    book = HealthBook(served.state)
    yield "<section><h3>Boards</h3><div class='scroll'><table class='grid'><thead><tr>"
    yield "<th>board</th><th>chip</th><th>runtime</th><th>held by</th><th>health</th></tr></thead><tbody>"
    for board in bench.boards:
        owner = seen_owner(board, served.state)
        held = f"{owner.user}, {owner.purpose or 'process ' + str(owner.pid)}, {owner.age}" if owner else "free"
        health = book.of(board.id)
        words = "ok" if health.state is State.OK else f"{health.state.value} since {day(health.since)}"
        colour = {State.OK: "pass", State.QUARANTINED: "fail"}.get(health.state, "marginal")
        yield f"<tr><td><a href='{_to_board(board.id)}'>{safe_text(board.id)}</a></td><td>{safe_text(board.chip)}</td>"
        yield f"<td>{safe_text(board.runtime)}</td><td>{safe_text(held, 120)}</td>"
        yield f"<td class='{colour}'>{words}</td></tr>"
        if health.state is not State.OK:
            yield f"<tr class='why'><td colspan='5' class='reason'>{safe_text(health.reason, 400)}</td></tr>"
    yield "</tbody></table></div></section>"


def _certificates(served: Served) -> Iterator[str]:
    files = _certificate_files(served)
    if files:
        yield "<section><h3>Certificates</h3><ul>"
        for file in files:
            yield f"<li><a href='/certificate/{quote(file.name)}'>{safe_text(file.name)}</a>"
            yield f" <span class='soft'>{day(file.stat().st_mtime)}</span></li>"
        yield "</ul></section>"


def _certificate_files(served: Served) -> list[Path]:
    return sorted(served.certificates.glob("*.certificate.html"))


def certificate(served: Served, name: str) -> str:
    """The page that 'harness qualify' wrote, as it is. Raises UsageError for a name that is not in the list."""
    from harness.campaigns.qualify.certificate import read_certificate

    for file in _certificate_files(served):
        if file.name == name:
            read_certificate(file)
            return file.read_text("utf-8", "replace")
    raise UsageError(f"there is no certificate {name!r}", hint="the page of the bench lists them")


# -- a run, a board, a figure --------------------------------------------------------------------


def run_page(served: Served, store: Store, number: int) -> str:
    run = store.load_run(number)
    again = _AGAIN if goes_on(summary_of(run)) else 0
    return run_to_html(run, trends_of(run, store), served.state, run_before(run, store), again=again)


def board_page(served: Served, store: Store, board: str) -> str:
    """How it is, its last runs, and each of its figures over them."""
    if not is_known(store, board) and board not in _benchs(served):
        raise UsageError(f"there is no board {board!r}", hint="the page of the bench lists them")
    health = HealthBook(served.state).of(board)
    body = [f"<header><h1>{safe_text(board)}</h1><p><a href='/'>the bench</a></p></header>"]
    body += ["<section><h3>Health</h3>", f"<p>{safe_text(health.state.value)} {safe_text(health.reason, 400)}</p><ul>"]
    body += [f"<li>{day(at)} <b>{safe_text(state)}</b> {safe_text(why, 400)}</li>" for at, state, why in health.history]
    body += ["</ul></section>", *_runs_of(store, board), *_flaky(store, board), *_figures_of(store, board)]
    return html_page(board, body)


def _benchs(served: Served) -> list[str]:
    try:
        return [board.id for board in load_bench(served.bench_file, check_files=False).boards]
    except HarnessError:
        return []


def _runs_of(store: Store, board: str) -> Iterator[str]:
    runs = run_summaries(store, _LISTED, board=board)
    yield "<section><h3>Last runs</h3><div class='scroll'><table class='grid'><thead><tr>"
    yield "<th>run</th><th>began</th><th>outcome</th><th>scenarios</th><th>firmware</th></tr></thead><tbody>"
    for run, record in ((one, record) for one in runs for record in one.boards):
        yield f"<tr><td><a href='/run-{run.id}.html'>{run.id}</a></td><td>{day(run.started)}</td>"
        yield f"<td>{badge(record.outcome)}</td><td>{outcomes_words(record.counts)}</td>"
        yield f"<td>{safe_text(f'{record.firmware.name} {record.firmware.version}', 80)}</td></tr>"
        if record.problem:
            yield f"<tr class='why'><td colspan='5' class='reason'>{safe_text(record.problem, 400)}</td></tr>"
    yield "</tbody></table></div></section>"


def _flaky(store: Store, board: str) -> Iterator[str]:
    found = flakiness(store, board, since=newest_run(store) - 86_400.0 * _DAYS)
    if found:
        yield "<section><h3>Passes and fails with one firmware</h3><ul>"
        for one in found:
            yield f"<li>{safe_text(f'{one.suite}: {one.scenario}'.replace('_', ' '), 120)}: {one.odd} of {one.tried}"
            yield f" results unlike the others ({one.low:.0%} to {one.high:.0%})</li>"
        yield "</ul></section>"


def _figures_of(store: Store, board: str) -> Iterator[str]:
    found = recent_histories(store, board, 30)
    suites: dict[str, list[History]] = {}
    for history in found:
        suites.setdefault(history.suite, []).append(history)
    for suite, several in suites.items():
        yield f"<section><details><summary><b>{safe_text(suite)}</b> <span class='soft'>{len(several)} figures</span>"
        yield "</summary><div class='scroll'><table class='grid'><thead><tr>"
        yield "<th>figure</th><th>newest</th><th>last runs</th></tr></thead><tbody>"
        for history in several:
            newest = history.entries[-1]
            label = f"{history.scenario.replace('_', ' ')}: {history.name}"
            value = figure(newest.measured, history.unit, history.kind)
            yield f"<tr><td><a href='{_to_figure(history)}'>{safe_text(label, 160)}</a></td>"
            yield f"<td class='figure'>{value}</td><td>{_trend(history)}</td></tr>"
        yield "</tbody></table></div></details></section>"


def _trend(history: History) -> str:
    values = [entry.measured for entry in history.entries]
    return "" if any(isinstance(v, str) for v in values) else trend_svg([float(v) for v in values])


def figure_page(_served: Served, store: Store, name: str) -> str:
    """A figure (``suite/scenario/figure``) over all boards that have it, with the steps that the history finds."""
    suite, _, rest = name.partition("/")
    scenario, _, figure_name = rest.partition("/")
    days = _DAYS if boards_with(store, suite, scenario, figure_name) <= _MANY_BOARDS else _FEWER_DAYS
    found = figure_histories(store, suite, scenario, figure_name, since=newest_run(store) - 86_400.0 * days)
    if not found:
        raise UsageError(f"no board has a figure {name!r}", hint="a board's page lists its figures")
    title = f"{suite}: {scenario.replace('_', ' ')}: {figure_name}"
    body = [f"<header><h1>{safe_text(title)}</h1><p><a href='/'>the bench</a>; the last {days} days</p></header>"]
    for history in found:
        body += _history(history)
    return html_page(title, body)


def _history(history: History) -> Iterator[str]:
    newest = history.entries[-1]
    line = f", line {history.line}" if history.line else ""
    yield f"<section><h3><a href='{_to_board(history.board)}'>{safe_text(history.board)}</a>{safe_text(line)}</h3>"
    yield f"<p>newest: {figure(newest.measured, history.unit, history.kind)} in "
    yield f"<a href='/run-{newest.run}.html'>run {newest.run}</a> {badge(newest.verdict)}; "
    yield f"{len(history.entries)} run{'s' if len(history.entries) != 1 else ''}</p>"
    verdict = history.judge()
    yield history_svg(history, verdict)
    if verdict.steps:
        yield "<ul>"
        for step in verdict.steps:
            entry = history.entries[step.first]
            before = figure(step.before, history.unit, history.kind)
            after = figure(step.after, history.unit, history.kind)
            sure = "" if step.confirmed else " (not certain yet)"
            yield f"<li>{before} → {after}{sure}, first in <a href='/run-{entry.run}.html'>run {entry.run}</a>, "
            yield f"{day(entry.started)}, {safe_text(entry.version, 80)}</li>"
        yield "</ul>"
    yield "</section>"


def _to_board(board: str) -> str:
    return f"/board/{quote(board, safe='')}"


def _to_figure(history: History) -> str:
    return "/figure/" + "/".join(quote(part, safe="") for part in (history.suite, history.scenario, history.name))
