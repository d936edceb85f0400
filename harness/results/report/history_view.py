"""What ``harness history`` and ``harness diff`` print."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.errors import EXIT_FIRMWARE_FAILED
from harness.judging.outcome import Outcome
from harness.results.change import Verdict
from harness.results.flaky import Flakiness, flakiness
from harness.results.history_table import day, figure, print_histories
from harness.results.opening import open_store
from harness.results.report.json_report import write_json
from harness.results.run_diff import Change, diff, not_comparable
from harness.results.series import History, changed_with, histories
from harness.shown import Terminal, plain


def show_history(
    board: str, measurement: str, store: str, line: str, last: int, changed: bool, every: bool, json_file: str
) -> None:
    """The figures of BOARD over all runs: trend, baseline, steps with their first bad run, flaky scenarios.

    MEASUREMENT is a figure's name or a pattern; one that matches a single figure shows its runs around each step.
    """
    opened = open_store(store)
    found = histories(opened, board, measurement, line=line, last=last)
    flaky = flakiness(opened, board, last=last) if measurement == "*" else []
    opened.close()
    judged = [(history, history.judge()) for history in found]
    shown = [(h, v) for h, v in judged if v.steps or not changed]
    console = Terminal(stderr=json_file == "-")
    print_histories(console, shown, constant=every or changed or measurement != "*")
    if len(judged) == 1:
        _print_runs(console, *judged[0])
    still = len(judged) - len([1 for _, v in judged if v.steps])
    console.print(
        Text(
            f"{len(judged)} {'history' if len(judged) == 1 else 'histories'}, {still} of them without a step",
            style="dim",
        )
    )
    for scenario in flaky:
        share = f"{scenario.odd} of {scenario.tried} results unlike the others of the same image"
        bounds = f"{scenario.low:.0%} to {scenario.high:.0%}"
        console.print(
            Text(f"flaky: {plain(f'{scenario.suite}: {scenario.scenario}', 80)}: {share} ({bounds})", style="yellow")
        )
    if json_file:
        content = {"board": board, "figures": [history_to_json(h, v) for h, v in judged]}
        write_json(json_file, {**content, "flaky": [_flaky_to_json(f) for f in flaky]})


def _print_runs(console: Console, history: History, verdict: Verdict) -> None:
    """Two runs before and after each step."""
    for step in verdict.steps:
        console.print()
        for index in range(max(0, step.first - 2), min(len(history.entries), step.first + 3)):
            entry = history.entries[index]
            mark = " ← first changed run" if index == step.first else ""
            mark += " ← told here" if index == step.told and step.confirmed else ""
            firmware = f"{plain(entry.version, 40)} {entry.sha256[:12]}"
            value = figure(entry.measured, history.unit, history.measured_as)
            words = f"run {entry.run:6} {day(entry.started)} {value:>16}  {firmware}"
            console.print(Text(words + mark, style="yellow" if mark else ""), soft_wrap=True)


def history_to_json(history: History, verdict: Verdict) -> dict[str, Any]:
    """A history with its steps, as other programs read it; a step's runs are ids of the store."""
    fields = {name: getattr(history, name) for name in ("line", "suite", "scenario", "name", "kind", "unit")}
    steps = [
        {
            "first_run": history.entries[s.first].run,
            "told_run": history.entries[s.told].run,
            "before": s.before,
            "after": s.after,
            "worse": history.measured_as.worse(s.before, s.after),
            "confirmed": s.confirmed,
            "suite_changed": bool(changed_with(history, s)),
            "version": history.entries[s.first].version,
            "sha256": history.entries[s.first].sha256,
        }
        for s in verdict.steps
    ]
    entries = [{**e._asdict(), "samples": list(e.samples), "verdict": e.verdict.value} for e in history.entries]
    baseline = None if verdict.baseline is None else asdict(verdict.baseline)
    return {**fields, "baseline": baseline, "steps": steps, "runs": entries}


def _flaky_to_json(scenario: Flakiness) -> dict[str, Any]:
    return {**asdict(scenario), "share": scenario.share, "low": scenario.low, "high": scenario.high}


def show_diff(before: int, after: int, store: str, json_file: str) -> None:
    """What changed from run BEFORE to run AFTER: verdicts, figures beyond noise, firmware, environment.

    Exit code 1 when a verdict got worse, else 0.
    """
    opened = open_store(store)
    changes = diff(opened, before, after)
    cannot = not_comparable(opened, before, after)
    opened.close()
    console = Terminal(stderr=json_file == "-")
    for words in cannot:
        console.print(Text(plain(words, 300), style="magenta bold"), soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("what", "board", "name", f"run {before}", f"run {after}", "why"):
        table.add_column(heading)
    for c in changes:
        cells = (c.what, c.board, c.name, figure(c.before, c.unit), figure(c.after, c.unit), c.why)
        table.add_row(*(Text(plain(cell, 120)) for cell in cells), style="red" if _worse(c) else "")
    console.print(table if changes else "nothing changed beyond noise")
    if json_file:
        write_json(
            json_file,
            {"before": before, "after": after, "not_comparable": cannot, "changes": [asdict(c) for c in changes]},
        )
    sys.exit(EXIT_FIRMWARE_FAILED if any(map(_worse, changes)) else 0)


def _worse(change: Change) -> bool:
    bad = (Outcome.FAIL.value, Outcome.ERROR.value, Outcome.BROKEN.value)
    return change.what in ("verdict", "scenario") and change.after in bad and change.before not in bad
