"""``harness history``, ``harness diff`` and ``harness bisect``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.campaigns.image_bisect import Found, Tried, bisect, most_runs
from harness.campaigns.image_runs import ImageRuns
from harness.cli.store import open_store, store_option
from harness.errors import EXIT_FIRMWARE_FAILED, UsageError
from harness.judging.outcome import Outcome
from harness.results.change import EFFECTS, Verdict
from harness.results.flaky import Flakiness, flakiness
from harness.results.history_table import day, figure, print_histories
from harness.results.report.json_report import write_json
from harness.results.report.terminal import plain
from harness.results.run_diff import Change, diff
from harness.results.series import History, histories

_CONTEXT = {"help_option_names": ["-h", "--help"]}
_json_option = click.option(
    "--json", "json_file", default="", metavar="FILE", help="Also write the result as JSON ('-': standard output)."
)


@click.command("history", context_settings=_CONTEXT)
@click.argument("board")
@click.argument("measurement", default="*")
@store_option
@click.option("--line", default="", metavar="NAME", help="Only this firmware line.")
@click.option("--last", default=0, metavar="N", help="Only the newest N runs (default: all).")
@click.option("--changed", is_flag=True, help="Only figures that have a step.")
@click.option("--all", "every", is_flag=True, help="Also each figure that never changed.")
@_json_option
def history_command(
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
    console = Console(stderr=json_file == "-")
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
    for one in flaky:
        share = f"{one.odd} of {one.tried} results unlike the others of the same image"
        bounds = f"{one.low:.0%} to {one.high:.0%}"
        console.print(Text(f"flaky: {plain(f'{one.suite}: {one.scenario}', 80)}: {share} ({bounds})", style="yellow"))
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
            words = f"run {entry.run:6} {day(entry.started)} {figure(entry.measured, history.unit):>16}  {firmware}"
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
            "confirmed": s.confirmed,
            "version": history.entries[s.first].version,
            "sha256": history.entries[s.first].sha256,
        }
        for s in verdict.steps
    ]
    entries = [{**asdict(e), "samples": list(e.samples), "verdict": e.verdict.value} for e in history.entries]
    baseline = None if verdict.baseline is None else asdict(verdict.baseline)
    return {**fields, "baseline": baseline, "steps": steps, "runs": entries}


def _flaky_to_json(one: Flakiness) -> dict[str, Any]:
    return {**asdict(one), "share": one.share, "low": one.low, "high": one.high}


# -- diff ----------------------------------------------------------------------------------------


@click.command("diff", context_settings=_CONTEXT)
@click.argument("before", type=int)
@click.argument("after", type=int)
@store_option
@_json_option
def diff_command(before: int, after: int, store: str, json_file: str) -> None:
    """What changed from run BEFORE to run AFTER: verdicts, figures beyond noise, firmware, environment.

    Exit code 1 when a verdict got worse, else 0.
    """
    opened = open_store(store)
    changes = diff(opened, before, after)
    opened.close()
    console = Console(stderr=json_file == "-")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("what", "board", "name", f"run {before}", f"run {after}", "why"):
        table.add_column(heading)
    for c in changes:
        cells = (c.what, c.board, c.name, figure(c.before, c.unit), figure(c.after, c.unit), c.why)
        table.add_row(*(Text(plain(cell, 120)) for cell in cells), style="red" if _worse(c) else "")
    console.print(table if changes else "nothing changed beyond noise")
    if json_file:
        write_json(json_file, {"before": before, "after": after, "changes": [asdict(c) for c in changes]})
    sys.exit(EXIT_FIRMWARE_FAILED if any(map(_worse, changes)) else 0)


def _worse(change: Change) -> bool:
    bad = (Outcome.FAIL.value, Outcome.ERROR.value)
    return change.what in ("verdict", "scenario") and change.after in bad and change.before not in bad


# -- bisect --------------------------------------------------------------------------------------


@click.command("bisect", context_settings=_CONTEXT)
@click.argument("images", nargs=-1, required=True)
@click.option("--board", required=True, metavar="ID", help="The board to try them on.")
@click.option(
    "--measurement", required=True, metavar="NAME", help="The figure, by its name or 'suite: scenario: name'."
)
@click.option("--suite", default="", metavar="NAME", help="The suite that measures it (default: all suites).")
@click.option("--repeats", default=3, show_default=True, help="Tries of an image, of which the majority decides.")
@click.option("--bench", default="", metavar="FILE", help="Bench file (default: boards.yaml).")
@store_option
@_json_option
def bisect_command(
    images: tuple[str, ...],
    board: str,
    measurement: str,
    suite: str,
    repeats: int,
    bench: str,
    store: str,
    json_file: str,
) -> None:
    """The first of IMAGES at which a figure changed. The first image must be good, the last one bad.

    IMAGES are firmware files in their order; for a virtual board, names of variants ('healthy' for none). Each try
    is a run of its own and stays in the store.
    """
    console = Console(stderr=json_file == "-")
    runs = ImageRuns(bench, board, images, measurement, suite, store)
    console.print(Text(f"{len(images)} images, {most_runs(len(images), repeats)} runs at most", style="dim"))

    def watch(tried: Tried) -> None:
        figures = ", ".join(figure(value) for value in tried.figures) or plain(tried.problem, 100)
        console.print(Text(f"{images[tried.index]}: {tried.state.value} ({figures})"), soft_wrap=True)

    if len(images) < 2:
        raise UsageError("a bisection needs two images at least", hint="give a good one first and a bad one last")
    found = bisect(len(images), runs.measure, lambda: EFFECTS[runs.kind], repeats=repeats, watch=watch)
    console.print(Text(_found_words(found, images), style="bold"), soft_wrap=True)
    if json_file:
        tried = [{**asdict(t), "state": t.state.value, "image": images[t.index]} for t in found.tried]
        ends = {"last_good": images[found.last_good], "first_bad": images[found.first_bad]}
        write_json(json_file, {**ends, "good": found.good, "bad": found.bad, "tried": tried})


def _found_words(found: Found, images: tuple[str, ...]) -> str:
    words = f"first bad: {images[found.first_bad]} ({figure(found.good)} → {figure(found.bad)})"
    if found.between:
        names = ", ".join(images[i] for i in found.between)
        words += f", or one of these, which could not be judged: {names}"
    return f"{words}; last good: {images[found.last_good]}"
