"""``harness run``: flash, run the suites, judge."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import (
    CONTEXT,
    Finite,
    OutputFile,
    bench_option,
    boards_option,
    json_option,
    load_chosen,
    variant_option,
)
from harness.errors import EXIT_PASS, HarnessError, UsageError

if TYPE_CHECKING:
    from harness.inventory.model import Board
    from harness.results.database import Location
    from harness.results.report.formats import Finished


@click.command(context_settings=CONTEXT)
@click.argument("suites", nargs=-1)
@bench_option
@boards_option
@click.option(
    "-k",
    "keywords",
    multiple=True,
    metavar="WORDS",
    help="Only scenarios of that name as it is printed, or with these words (and, or, not). Can be given again.",
)
@click.option("--last-failed", is_flag=True, help="Only what failed, or had an error, when its board last ran.")
@click.option("--list", "list_only", is_flag=True, help="List what would run on which board, and what not, and end.")
@click.option("--no-flash", is_flag=True, help="Test the firmware that the boards hold.")
@click.option("--set-aside", is_flag=True, help="Set aside what the boards run by themselves (main.py, init.lua …).")
@variant_option
@click.option("--jobs", type=click.IntRange(1), default=8, show_default=True, help="Boards at the same time.")
@click.option(
    "--wait",
    type=Finite(0),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a board that is busy.",
)
@click.option("--store", default="", metavar="FILE|URL", help="Results store (default: .harness/results.sqlite).")
@click.option("--junit", type=OutputFile(), default="", metavar="FILE", help="Also write the result as JUnit XML.")
@click.option("--html", type=OutputFile(), default="", metavar="FILE", help="Also write the result as an HTML page.")
@click.option(
    "--report", "reports", multiple=True, metavar="NAME=FILE", help="Also write it in that format (markdown, …)."
)
@click.option("--figures", is_flag=True, help="Show every figure in the table.")
@click.option("--timings", is_flag=True, help="Show where the seconds went: start, flash, VM, suites.")
@json_option
def run(
    suites: tuple[str, ...],
    bench: str,
    boards: str | None,
    keywords: tuple[str, ...],
    last_failed: bool,
    list_only: bool,
    no_flash: bool,
    set_aside: bool,
    variant: str,
    jobs: int,
    wait: float,
    store: str,
    junit: str,
    html: str,
    reports: tuple[str, ...],
    figures: bool,
    timings: bool,
    json_file: str,
) -> None:
    """Flash the boards, run the SUITES (default: all), judge every figure, and keep the results."""
    file, chosen = load_chosen(bench, boards, to_stderr=json_file == "-")
    from harness.campaigns.board_process import warm_up

    warm_up()
    from rich.text import Text

    from harness.bench.checked_firmware import check_images
    from harness.campaigns.bench_run import RunInterrupted, RunRequest, run_bench
    from harness.campaigns.ports_together import ports_together
    from harness.campaigns.unused_limits import unused_limits
    from harness.paths import state_dir
    from harness.results.database import location
    from harness.results.report import formats
    from harness.results.report.terminal import LiveView, print_run, terminal
    from harness.results.report.timings import Timings
    from harness.results.sending import NotSent
    from harness.results.store import Store

    own = {"json": json_file, "junit": junit, "html": html}
    wanted = [(name, Path(target)) for name, target in own.items() if target]
    wanted += [formats.parse(report) for report in reports]
    if variant:
        chosen = _with_variant(chosen, variant)
    if not no_flash:
        check_images(chosen)
    state = state_dir(file)
    path = location(store, state / "results.sqlite")
    console = terminal(to_stderr=json_file == "-")
    request = RunRequest(
        bench_file=file,
        boards=chosen,
        state=state,
        store=path,
        suites=suites,
        keywords=keywords,
        only=_failed_last(path, chosen) if last_failed else None,
        flash=not no_flash,
        set_aside=set_aside,
        variant=variant,
        jobs=jobs,
        wait=wait,
        attended=console.is_terminal,
        command=shlex.join(["harness", *sys.argv[1:]]),
    )
    if list_only:
        from harness.campaigns.plan_listing import list_plan

        list_plan(request, json_file)
        return
    ended: RunInterrupted | NotSent | None = None
    with LiveView(request.boards, console) as view:
        times = Timings([board.id for board in chosen], view)
        try:
            number = run_bench(request, times)
        except (RunInterrupted, NotSent) as problem:
            ended, number, path = problem, problem.run, problem.kept
    results = Store(path)
    record = results.load_run(number)
    print_run(record, console, all_figures=figures, state=state)
    everything = not (suites or keywords or last_failed or isinstance(ended, RunInterrupted))
    for words in (*ports_together(record), *unused_limits(chosen, record, results, everything=everything)):
        console.print(Text(f"warning: {words}", style="yellow"), soft_wrap=True)
    if timings:
        times.show(console)
    finished = formats.Finished(record, results, state)
    unwritten = [_unwritten(name, finished, target) for name, target in wanted]
    results.close()
    if ended is not None:
        raise ended
    sys.exit(record.exit_code or max(unwritten, default=EXIT_PASS))


def _unwritten(name: str, finished: Finished, target: Path) -> int:
    """Write a report. What keeps it from that is told, and its exit code given: the other reports, and what the run
    found, are not lost by it."""
    from harness.results.report import formats
    from harness.shown import say

    try:
        formats.write(name, finished, target)
    except HarnessError as problem:
        say(f"harness: {problem}", stderr=True)
        return problem.exit_code
    return EXIT_PASS


def _failed_last(store: Location, boards: list[Board]) -> frozenset[tuple[str, str, str]]:
    """What did not pass when each board last ran. Raises UsageError when there is none."""
    from harness.results.last_failed import last_failed
    from harness.results.opening import open_store

    opened = open_store(str(store))
    try:
        failed = last_failed(opened, [board.id for board in boards])
    finally:
        opened.close()
    if not failed:
        raise UsageError("nothing failed when these boards last ran", hint="leave --last-failed out to run everything")
    return failed


def _with_variant(boards: list[Board], variant: str) -> list[Board]:
    """Those of ``boards`` whose runtime has that firmware variant. Raises UsageError when none has."""
    from harness.virtual.defects import DEFECTS
    from harness.virtual.virtual_firmware import require_variant

    require_variant(variant)
    runtime = DEFECTS[variant].runtime
    chosen = [board for board in boards if board.runtime == runtime]
    if not chosen:
        raise UsageError(f"{variant} is a variant of {runtime}, which none of the chosen boards has")
    return chosen
