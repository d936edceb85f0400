"""``harness nightly``: all boards of the bench at once, within a time, with everything a CI page wants to show."""

from __future__ import annotations

import math
import os
import re
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from rich.text import Text

from harness.bench.checked_firmware import check_images
from harness.campaigns.bench_run import RunInterrupted, RunRequest, run_bench
from harness.campaigns.ports_together import ports_together
from harness.campaigns.unused_limits import unused_limits
from harness.errors import Interrupted, UsageError
from harness.inventory.load import load_bench
from harness.inventory.model import Board
from harness.inventory.selection import bench_file, bench_line, chosen_boards
from harness.paths import made, state_dir
from harness.results.database import location
from harness.results.night import Night
from harness.results.report.html import write_html
from harness.results.report.json_report import run_to_json, write_json
from harness.results.report.junit import write_junit
from harness.results.report.markdown import run_to_markdown
from harness.results.report.nightly_index import write_index
from harness.results.report.plots import Trends, trends_of
from harness.results.report.terminal import LiveView, print_run, terminal
from harness.results.run_record import RunRecord
from harness.results.sending import NotSent, kept_in
from harness.results.store import Store

COMMAND = "harness nightly"
#: Every board is a process of its own; more of them at once than this only make each other late.
_MOST_AT_ONCE = 32
_INDEXED = 60
_NIGHT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
#: So many runs back an unfinished night is looked for.
_LOOKED_AT = 200


def nightly(
    suites: tuple[str, ...],
    bench: str,
    boards: str | None,
    board_minutes: float,
    total_minutes: float,
    jobs: int | None,
    resume: bool,
    lab: bool,
    night: str,
    out: Path,
    variant: str,
    store: str,
) -> None:
    """Run the SUITES (default: all) on all boards at once, unattended, and leave reports in a folder.

    JUnit, JSON, Markdown and HTML of this run, and an index over the runs before it. Where GITHUB_STEP_SUMMARY names
    a file, the Markdown is added to it. Exit codes are those of 'harness run'.

    With ``lab`` hosts that have a store in common share the ``night`` of that name; its reports are of all of them.
    """
    shared = _night_of(lab, night, resume)
    file = bench_file(bench)
    loaded = load_bench(file)
    chosen = chosen_boards(loaded, boards)
    console = terminal()
    console.print(Text(bench_line(file, loaded, chosen)), soft_wrap=True)
    check_images(chosen)
    state = state_dir(file)
    where = location(store, state / "results.sqlite")
    request = RunRequest(
        bench_file=file,
        boards=chosen,
        state=state,
        store=where,
        suites=suites,
        variant=variant,
        jobs=min(jobs or len(chosen), _MOST_AT_ONCE),
        command=" ".join(
            [COMMAND, *suites, *(["--variant", variant] if variant else []), *(["--lab", shared] if shared else [])]
        ),
        night=shared,
        board_seconds=60 * board_minutes,
        total_seconds=60 * total_minutes if math.isfinite(total_minutes) else math.inf,
        look_again=True,
        resume=_unfinished(kept_in(where, state)) if resume else 0,
    )
    if resume:
        words = f"going on with run {request.resume}" if request.resume else "nothing to go on with: a new run"
        console.print(Text(words))
    made(out)
    unsent: NotSent | None = None
    again = f"'harness nightly --lab --night {shared}'" if shared else "'harness nightly --resume'"
    try:
        with LiveView(chosen, console) as view:
            number = run_bench(request, view)
    except RunInterrupted:
        raise Interrupted(f"{again} goes on where it stopped") from None
    except NotSent as problem:
        unsent, number, where = problem, problem.run, problem.kept
    results = Store(where)
    record = results.load_run(number)
    if shared and unsent is None:
        record = _whole_night(results, record, chosen, shared)
    everything = not (suites or record.interrupted)
    told = [*ports_together(record), *unused_limits(chosen, record, results, everything=everything)]
    trends = trends_of(record, results)
    earlier = [past for past in results.load_runs(_INDEXED) if past.id != number]
    before = _night_before(results, earlier, chosen, shared)
    results.close()
    print_run(record, console, state=state)
    for words in told:
        console.print(Text(f"warning: {words}", style="yellow"), soft_wrap=True)
    _write(record, before, earlier, trends, out, state)
    console.print(Text(f"reports: {out}/index.html, run-{number}.html, junit.xml, run.json, summary.md"))
    if unsent is not None:
        raise unsent
    sys.exit(record.exit_code)


def _night_of(lab: bool, name: str, resume: bool) -> str:
    """The name of the night that is shared; empty: it is not. Raises UsageError for a name that is none."""
    if not lab:
        if name:
            raise UsageError("--night names a night that hosts share", hint="say --lab as well")
        return ""
    if resume:
        raise UsageError("a night that hosts share goes on by itself", hint="leave --resume out: its name says which")
    if name and not _NIGHT.fullmatch(name):
        raise UsageError(f"--night {name[:80]!a} is no name", hint="letters, digits, '.', '_' and '-', at most 60")
    # Until noon it is the night that began yesterday.
    return name or (datetime.now() - timedelta(hours=12)).date().isoformat()


def _whole_night(results: Store, own: RunRecord, boards: list[Board], name: str) -> RunRecord:
    """What all hosts have done in the night, under the number of our own run."""
    from harness.campaigns.lab_night import with_twins

    record = Night(results, name, "", own.uid).record(boards, own.command)
    return replace(with_twins(record, boards), id=own.id, uid=own.uid, finished=own.finished)


def _unfinished(where: Path) -> int:
    """The newest nightly run when it did not come to its end, else 0; other runs since then do not count."""
    results = Store(where)
    try:
        runs = (results.load_run(number, figures=False) for number in results.runs(_LOOKED_AT))
        newest = next((run for run in runs if _is_nightly(run) and not _is_shared(run)), None)
        return newest.id if newest is not None and newest.interrupted else 0
    finally:
        results.close()


def _is_nightly(run: RunRecord) -> bool:
    return run.command.startswith(COMMAND)


def _is_shared(run: RunRecord) -> bool:
    return "night" in run.environment


def _night_before(results: Store, earlier: list[RunRecord], boards: list[Board], shared: str) -> RunRecord | None:
    """The last night before this one that came to its end: that of all hosts, when it was shared."""
    ended = [one for one in earlier if _is_nightly(one) and not one.interrupted]
    last = next((one for one in ended if not shared or one.environment.get("night") != shared), None)
    if last is None or not _is_shared(last):
        return last
    whole = Night(results, last.environment["night"], "", "").record(boards, last.command)
    return replace(whole, id=last.id)


def _write(
    run: RunRecord, before: RunRecord | None, earlier: list[RunRecord], trends: Trends, out: Path, state: Path
) -> None:
    markdown = run_to_markdown(run, before)
    (out / "summary.md").write_text(markdown, "utf-8")
    step_page = os.environ.get("GITHUB_STEP_SUMMARY")
    if step_page:
        with Path(step_page).open("a", encoding="utf-8") as page:
            page.write(markdown)
    write_json(str(out / "run.json"), run_to_json(run))
    write_junit(run, out / "junit.xml")
    write_html(run, out / f"run-{run.id}.html", trends, state, before)
    write_index([run, *earlier], out / "index.html")
