"""A run as one HTML page that needs nothing else: no script, no font, no picture from elsewhere.

Everything a board had a say in is stripped of control characters and escaped; the page's own content policy
forbids scripts and loading on top of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from harness.judging.compare import Measurement
from harness.judging.outcome import Outcome, worst
from harness.kinds import Value, stored
from harness.link.transcript_files import excerpt
from harness.paths import unwritable
from harness.results.report.plots import NO_EFFECT, Trends, distribution_svg, trend_svg
from harness.results.report.terminal import closing_line, events_words
from harness.results.run_record import BoardRecord, RunRecord, ScenarioResult
from harness.shown import plain

_STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --ink: #1c2128; --soft: #59636e; --line: #d9dee4;
  --pass: #1a7f37; --marginal: #8a5d00; --fail: #c62828; --error: #8a3ab9; --skipped: #59636e; }
@media (prefers-color-scheme: dark) { :root { --page: #0f1318; --card: #181d24; --ink: #e3e8ee; --soft: #98a3af;
  --line: #2d353f; --pass: #4cc26a; --marginal: #e0a82e; --fail: #ff7b72; --error: #cf9bf2; --skipped: #98a3af; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 68rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 0; } h3 { font-size: 1rem; margin: 0 0 .5rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem 1.2rem;
  margin-top: 1.2rem; }
header p, .soft { color: var(--soft); margin: .2rem 0; }
code { font: .92em ui-monospace, Consolas, "Liberation Mono", monospace; overflow-wrap: anywhere; }
.verdict { display: inline-block; min-width: 4.6rem; text-align: center; padding: .05rem .55rem; border-radius: 1rem;
  border: 1px solid currentColor; font-size: .8rem; font-weight: 600; }
.title { display: flex; flex-wrap: wrap; gap: .7rem; align-items: center; }
.scroll { overflow-x: auto; margin-top: .8rem; }
table { border-collapse: collapse; width: 100%; min-width: 40rem; table-layout: fixed;
  font-variant-numeric: tabular-nums; }
th:nth-child(1) { width: 27%; } th:nth-child(2), th:nth-child(3) { width: 16%; } th:nth-child(5) { width: 7rem; }
details { border-top: 1px solid var(--line); margin-top: .8rem; padding-top: .6rem; }
section > details:first-child { border-top: 0; margin-top: 0; padding-top: 0; }
summary { cursor: pointer; } summary b { margin: 0 .5rem; }
th, td { text-align: left; padding: .3rem .7rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 500; font-size: .85rem; }
.figure { text-align: right; overflow-wrap: anywhere; } .figure + td:not(.figure), .figure + th:not(.figure) {
  padding-left: .8rem; }
tr.scenario td { padding-top: 1rem; font-weight: 600; border-bottom-width: 2px; }
tr.scenario .soft { font-weight: 400; }
.reason { white-space: pre-wrap; overflow-wrap: anywhere; margin: .3rem 0; }
.reason + .title { margin-top: .8rem; }
.wire { margin: 0; padding: 0; border: 0; } .wire + .title { margin-top: .8rem; } .wire summary { color: var(--soft); }
.wire div { display: grid; grid-template-columns: 4rem 1.2rem minmax(0, 1fr); margin: 0; align-items: baseline; }
.wire div span { color: var(--soft); font-size: .8rem; font-variant-numeric: tabular-nums; }
.wire code { white-space: pre-wrap; font-size: .8rem; } .wire .sent code { color: var(--pass); }
.wire .soft code { color: var(--soft); }
ul { padding-left: 1.2rem; margin: .3rem 0; }
.pass { color: var(--pass); } .marginal { color: var(--marginal); } .fail { color: var(--fail); }
.error, .broken { color: var(--error); } .skipped { color: var(--skipped); }
.plot { display: block; color: var(--soft); margin-top: .15rem; max-width: 100%; } .figure .plot { margin-left: auto; }
table.grid { table-layout: auto; min-width: 0; }
table.grid th, table.grid td { width: auto; white-space: nowrap; } table.grid .reason { white-space: pre-wrap; }
table.grid tr.why td { max-width: 0; padding-left: .8rem; border-top: 0; }
table.ranges th:nth-child(1) { width: 24%; } table.ranges th:nth-child(2) { width: 25%; }
table.ranges th:nth-child(3) { width: 13%; } table.ranges th:nth-child(5) { width: 5rem; }
.title b { flex: 1 1 12rem; min-width: 0; }
.title + p { margin-top: .4rem; }
h3.next { margin-top: 1rem; }
@media (max-width: 40rem) { body { padding: 1rem .6rem 2rem; } section { padding: .8rem .8rem; }
  table.figures { min-width: 0; } table.figures, table.figures tbody { display: block; }
  table.figures thead { display: none; }
  table.figures tr { display: flex; flex-wrap: wrap; gap: 0 .8rem; border-bottom: 1px solid var(--line);
    padding: .4rem 0; }
  table.figures td, table.figures .figure + td:not(.figure) { border: 0; padding: 0; text-align: left; width: auto; }
  table.figures td:first-child, table.figures td:nth-child(4) { flex: 1 0 100%; overflow-wrap: anywhere; }
  table.figures tr.scenario td:first-child { flex: 1 1 60%; }
  table.figures td.figure:nth-child(3)::before { content: "reference "; color: var(--soft); }
  table.figures td:nth-child(4)::before { content: "limit "; color: var(--soft); }
  table.figures td:empty { display: none; } table.figures .figure .plot { margin-left: 0; }
  table.grid td:first-child { min-width: 6rem; max-width: 9rem; white-space: normal; overflow-wrap: anywhere; }
  table.rounds td:not(.reason) { white-space: normal; } table.rounds td:first-child { min-width: 4.6rem; } }
@media print { body { max-width: none; background: none; } section { break-inside: avoid-page; } }
"""
#: Of one page: it must open on a phone also after a night in which everything failed.
_MOST_TRANSCRIPTS, _MOST_EVENTS = 40, 200
#: Of one entry, in characters: of what went over the line, and of what was asked and answered by it.
_MOST_TALK, _MOST_CALL = 600, 160
_WAYS = {"sent": "→", "received": "←", "note": "#"}
#: Control characters as a terminal shows them (``^A``): what a REPL is steered with should be seen.
_VISIBLE = {**{code: f"^{chr(code + 64)}" for code in range(32)}, 0x7F: "^?", 0x09: " ", 0x0A: "\n", 0x0D: None}
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def write_html(
    run: RunRecord,
    path: Path,
    trends: Trends | None = None,
    state: Path | None = None,
    before: RunRecord | None = None,
) -> None:
    """``trends`` are the figures of the runs before; ``state`` is the folder with the transcripts; ``before`` the run
    that this one is held against.

    Raises UsageError when ``path`` cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(run_to_html(run, trends, state, before), "utf-8")
    except OSError as problem:
        raise unwritable(path, problem) from None


def run_to_html(
    run: RunRecord,
    trends: Trends | None = None,
    state: Path | None = None,
    before: RunRecord | None = None,
    again: int = 0,
) -> str:
    """The whole page; ``again`` as for :func:`html_page`."""
    from harness.results.report.overview import overview

    body = [*_head(run), *overview(run, before), *_attention(run, state)]
    for board in run.boards:
        body += _board(board, trends or {})
    return html_page(f"Run {run.id}: {run.outcome.value}", body, again=again)


def html_page(title: str, body: Iterable[str], *, again: int = 0) -> str:
    """A whole page in the style of all reports; ``title`` is plain text, ``body`` is HTML.

    ``again``: the browser asks for it again after so many seconds; 0: it stays as it is.
    """
    refresh = f'<meta http-equiv="refresh" content="{again}">\n' if again else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{refresh}<title>{safe_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _head(run: RunRecord) -> Iterator[str]:
    yield f'<header>\n<div class="title"><h1>Run {run.id}</h1>{badge(run.outcome)}</div>'
    yield f"<p>{safe_text(closing_line(run).plain.strip())}</p>"
    started = datetime.fromtimestamp(run.started, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    yield f"<p>{started} · <code>{safe_text(run.command)}</code></p>\n</header>"


def _attention(run: RunRecord, state: Path | None) -> Iterator[str]:
    """What is not well, before everything that is."""
    told: list[tuple[Outcome, str, str, str]] = []
    for board in run.boards:
        if board.problem:
            told.append((Outcome.ERROR, board.id, board.problem, _attaching(board)))
        told += [
            (s.outcome, f"{board.id} · {_title(s)}", s.reason, s.transcript)
            for s in board.scenarios
            if s.outcome is not Outcome.PASS and s.reason and s.reason != board.problem
        ]
    skipped = [(where, reason) for outcome, where, reason, _ in told if outcome is Outcome.SKIPPED]
    told = [row for row in told if row[0] is not Outcome.SKIPPED]
    if not told and not skipped:
        return
    order = (Outcome.FAIL, Outcome.ERROR, Outcome.BROKEN, Outcome.MARGINAL, Outcome.PASS)
    yield "<section>" + ("\n<h3>What to look at</h3>" if told else "")
    shown = 0
    for outcome, where, reason, reference in sorted(told, key=lambda row: order.index(row[0])):
        yield f'<div class="title">{badge(outcome)}<b>{safe_text(where)}</b></div>'
        yield f'<p class="reason">{safe_text(reason)}</p>'
        if state is not None and outcome in (Outcome.FAIL, Outcome.ERROR, Outcome.BROKEN) and shown < _MOST_TRANSCRIPTS:
            lines = list(_transcript(state, reference))
            shown += bool(lines)
            yield from lines
    if skipped:
        yield f"<details><summary>{badge(Outcome.SKIPPED)}<b>{len(skipped)} not run</b>"
        yield "<span class='soft'>and why</span></summary><ul>"
        yield from (f"<li><b>{safe_text(where)}</b>: {safe_text(reason)}</li>" for where, reason in skipped)
        yield "</ul></details>"
    yield "</section>"


def _attaching(board: BoardRecord) -> str:
    """The transcript of a board that could not be made ready: it stands with its first scenario."""
    return next((s.transcript for s in board.scenarios if s.reason == board.problem and s.transcript), "")


def _transcript(state: Path, reference: str) -> Iterator[str]:
    """The end of what went over the line, folded; nothing when the transcript is gone."""
    entries = excerpt(state, reference)
    if not entries:
        return
    yield f"<details class='wire'><summary>transcript, its last {len(entries)} entries</summary>"
    yield f"<p class='soft'>seconds, direction, what; all of it: <code>{safe_text(reference)}</code></p>"
    for entry in entries:
        way, text = _WAYS.get(entry.kind, "·"), entry.data.decode("utf-8", "replace")
        if entry.kind not in _WAYS:
            text = f"{entry.kind} {text}"
        kind = entry.kind if entry.kind in ("sent", "received") else "soft"
        most = _MOST_CALL if kind == "soft" else _MOST_TALK
        if len(text) > most:
            text = f"{text[: most // 2]} … {text[-most // 2 :]}"
        yield f"<div class='{kind}'><span>{entry.at:.3f}</span><span>{way}</span>"
        yield f"<code>{safe_text(text.translate(_VISIBLE).rstrip())}</code></div>"
    yield "</details>"


def _board(board: BoardRecord, trends: Trends) -> Iterator[str]:
    firmware = board.firmware
    yield f'<section>\n<div class="title"><h2>{safe_text(board.id)}</h2>{badge(board.outcome)}</div>'
    name = f"{firmware.name} {firmware.version}".strip() or "no firmware known"
    yield f'<p class="soft">{safe_text(board.chip)} · {safe_text(name)}'
    yield f"<br>image SHA-256 <code>{safe_text(firmware.sha256)}</code></p>" if firmware.sha256 else "</p>"
    if any(s.measurements for s in board.scenarios):
        yield from _rules(board)
    yield from _events(board)
    suites: dict[str, list[ScenarioResult]] = {}
    for scenario in board.scenarios:
        suites.setdefault(scenario.suite, []).append(scenario)
    for suite, scenarios in suites.items():
        yield from _suite(board.id, suite, scenarios, trends)
    yield "</section>"


def _events(board: BoardRecord) -> Iterator[str]:
    """What happened to the board beside its scenarios."""
    if not board.events:
        return
    yield f"<details><summary>{safe_text(events_words(board))}</summary><ul class='soft'>"
    for event in board.events[:_MOST_EVENTS]:
        at = datetime.fromtimestamp(event.at, UTC).strftime("%H:%M:%S")
        where = f" ({event.scenario.replace('_', ' ')})" if event.scenario else ""
        yield f"<li>{at} <b>{safe_text(event.kind, 40)}</b> {safe_text(event.text, 400)}{safe_text(where, 200)}</li>"
    yield "</ul></details>"


def _suite(board: str, suite: str, scenarios: list[ScenarioResult], trends: Trends) -> Iterator[str]:
    """The scenarios of one suite; folded when there is nothing to look at."""
    outcome = worst(s.outcome for s in scenarios if s.outcome is not Outcome.SKIPPED)
    well = all(s.outcome in (Outcome.PASS, Outcome.SKIPPED) for s in scenarios)
    figures = sum(len(s.measurements) for s in scenarios)
    yield f"<details{'' if well else ' open'}><summary>{badge(outcome)}<b>{safe_text(suite)}</b>"
    yield f'<span class="soft">{_counts(scenarios)}, {figures} figures</span></summary>'
    yield '<div class="scroll"><table class="figures">\n<thead><tr><th>figure</th><th class="figure">measured</th>'
    yield '<th class="figure">reference</th><th>limit</th><th>verdict</th></tr></thead>\n<tbody>'
    for scenario in scenarios:
        yield (
            f'<tr class="scenario"><td colspan="4">{safe_text(_title(scenario))}'
            f' <span class="soft">{scenario.seconds:.1f} s</span></td><td>{badge(scenario.outcome)}</td></tr>'
        )
        for measurement in scenario.measurements:
            place = (board, suite, scenario.name, measurement.name)
            effect = stored(measurement.kind).history or NO_EFFECT
            yield _row(measurement, trend_svg(trends.get(place, ()), effect))
    yield "</tbody>\n</table></div></details>"


def _counts(scenarios: list[ScenarioResult]) -> str:
    counts = [(outcome, sum(s.outcome is outcome for s in scenarios)) for outcome in Outcome]
    return ", ".join(f"{count} {outcome.value}" for outcome, count in counts if count)


def _rules(board: BoardRecord) -> Iterator[str]:
    """By which rules the figures were held against the reference's, each once."""
    counts: dict[tuple[str, str], int] = {}
    for scenario in board.scenarios:
        for m in scenario.measurements:
            if m.rule:
                counts[m.kind, m.rule] = counts.get((m.kind, m.rule), 0) + 1
    if counts:
        yield '<ul class="soft">'
        for (kind, rule), count in counts.items():
            yield f"<li>{safe_text(kind)} ({count} figure{'s' if count != 1 else ''}): {safe_text(rule)}</li>"
        yield "</ul>"


def _row(m: Measurement, trend: str) -> str:
    reference = "" if m.reference is None else figure(m.reference, m.unit, m.kind)
    measured = "" if m.measured is None else figure(m.measured, m.unit, m.kind)
    limit = m.limit if m.measured is not None else m.reason
    verdict = m.verdict.value
    return (
        f"<tr><td><code>{safe_text(m.name)}</code>{trend}</td>"
        f'<td class="figure">{measured}{distribution_svg(m.samples)}</td>'
        f'<td class="figure">{reference}</td><td>{safe_text(limit)}</td><td class="{verdict}">{verdict}</td></tr>'
    )


def figure(value: Value, unit: str, kind: str) -> str:
    """A value of a figure with its unit, safe for HTML."""
    return safe_text(stored(kind).written(value, unit), 80)


def _title(scenario: ScenarioResult) -> str:
    return f"{scenario.suite}: {scenario.name.replace('_', ' ')}"


def day(moment: float) -> str:
    """A Unix time, to the minute."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")


def badge(outcome: Outcome) -> str:
    """The outcome as a coloured label."""
    return f'<span class="verdict {outcome.value}">{outcome.value}</span>'


def safe_text(text: str, limit: int = 4000) -> str:
    """``text`` without control characters, bounded, and escaped for HTML."""
    return escape(plain(text, limit))
