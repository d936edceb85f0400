"""``harness store``: what is in a results store, and taking it elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import CONTEXT, bench_option, json_option, store_option
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.results.exchange import Imported


@click.group("store", context_settings=CONTEXT)
def store() -> None:
    """What is in a results store; export, import, merge, send and prune it; who may do so."""


@store.command("info", context_settings=CONTEXT)
@store_option
@json_option
def info_command(store: str, json_file: str) -> None:
    """How many runs, boards and figures, and from when to when."""
    from rich.text import Text

    from harness.results.exchange import counts
    from harness.results.opening import open_store
    from harness.results.report.json_report import write_json
    from harness.shown import Terminal

    opened = open_store(store)
    numbers = counts(opened)
    opened.close()
    console = Terminal(stderr=json_file == "-")
    boards = numbers["boards"]
    console.print(Text(opened.name, style="bold"), soft_wrap=True)
    shown = ", ".join(boards[:10]) + (" …" if len(boards) > 10 else "")
    console.print(Text(f"{numbers['run']} runs of {len(boards)} boards: {shown}"))
    console.print(
        f"{numbers['scenario']} scenarios, {numbers['measurement']} measurements of {numbers['series']} figures"
    )
    if numbers["first"] is not None:
        first, last = (time.strftime("%Y-%m-%d %H:%M", time.localtime(numbers[n])) for n in ("first", "last"))
        console.print(f"from {first} to {last}")
    if json_file:
        write_json(json_file, {"store": opened.name, **numbers})


@store.command("export", context_settings=CONTEXT)
@click.argument("file", default="-")
@click.option("--run", "runs", type=int, multiple=True, metavar="ID", help="Only this run; may be given several times.")
@store_option
def export_command(file: str, runs: tuple[int, ...], store: str) -> None:
    """Write the store to FILE as JSON Lines ('-': standard output)."""
    from harness.results.exchange import export_lines
    from harness.results.opening import open_store

    opened = open_store(store)
    for run in runs:
        opened.load_run(run)
    try:
        with sys.stdout if file == "-" else Path(file).open("w", encoding="ascii") as target:
            for line in export_lines(opened, runs or None):
                target.write(line)
    except OSError as problem:
        raise UsageError(f"{file} cannot be written: {problem.strerror}", hint="give the path of a file") from None
    opened.close()


@store.command("import", context_settings=CONTEXT)
@click.argument("file")
@store_option
def import_command(file: str, store: str) -> None:
    """Add the runs of FILE, an export ('-': standard input), that the store has not."""
    from harness.results.exchange import import_lines
    from harness.results.opening import where
    from harness.results.store import Store

    target = Store(where(store))
    report = import_lines(target, _lines(file), source=file)
    target.close()
    _tell(report)


@store.command("merge", context_settings=CONTEXT)
@click.argument("sources", nargs=-1, required=True)
@store_option
def merge_command(sources: tuple[str, ...], store: str) -> None:
    """Add the runs of the stores SOURCES (files or URLs) that the store has not; again changes nothing."""
    from rich.text import Text

    from harness.results.exchange import merge
    from harness.results.opening import open_store, where
    from harness.results.store import Store
    from harness.shown import Terminal

    target = Store(where(store))
    for source in sources:
        other = open_store(source)
        report = merge(target, other)
        other.close()
        Terminal().print(Text(f"{other.name}:", style="bold"), soft_wrap=True)
        _tell(report)
    target.close()


@store.command("prune", context_settings=CONTEXT)
@click.option("--older-than", "days", type=click.FloatRange(min=0), required=True, metavar="DAYS", help="Runs so old.")
@click.option("--keep", type=click.IntRange(min=1), default=10, show_default=True, metavar="N",
              help="So many of each board's newest runs stay, however old.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Take them out; without it nothing is changed.")
@store_option
def prune_command(days: float, keep: int, yes: bool, store: str) -> None:
    """Say which runs are older than DAYS, and take them out with --yes.

    Certificates and transcripts are files, and stay. The room is used by what comes; a file becomes smaller by
    'sqlite3 FILE VACUUM'.
    """
    from rich.progress import Progress
    from rich.text import Text

    from harness.results.opening import open_store
    from harness.results.prune import old_runs, remove_runs, remove_unused
    from harness.shown import Terminal

    opened = open_store(store)
    old = old_runs(opened, time.time() - 86400 * days, keep)
    console = Terminal()
    what = f"{len(old.runs)} runs with {old.scenarios} scenarios and {old.measurements} measurements"
    if not old.runs:
        console.print("nothing is so old that it can go")
    elif not yes:
        console.print(Text(f"{opened.name}: {what} can go, nothing was changed; --yes takes them out"), soft_wrap=True)
    else:
        with Progress(console=Terminal(stderr=True), transient=True) as bar:
            task = bar.add_task("removing", total=len(old.runs))
            remove_runs(opened, old.runs, lambda count: bar.advance(task, count))
        remove_unused(opened)
        console.print(Text(f"{opened.name}: {what} were taken out"), soft_wrap=True)
    opened.close()


@store.command("grant", context_settings=CONTEXT)
@click.option("--reader", "readers", multiple=True, metavar="ROLE", help="May read everything and write nothing.")
@click.option("--writer", "writers", multiple=True, metavar="ROLE", help="May add runs as well, and take none away.")
@click.option("--yes", is_flag=True, help="Execute it; without it the SQL is printed and nothing is changed.")
@store_option
def grant_command(readers: tuple[str, ...], writers: tuple[str, ...], yes: bool, store: str) -> None:
    """Let roles of the server read its --store, or add runs to it.

    The roles are there already (CREATE ROLE name LOGIN), and --store names the role that made the store. Without --yes
    it prints the SQL for psql.
    """
    from harness.results.opening import where
    from harness.results.roles import grant, grants
    from harness.results.store import Store
    from harness.shown import say

    if not readers and not writers:
        raise UsageError("nobody is named", hint="--reader ROLE, --writer ROLE, or several of them")
    statements = grants(readers, writers)
    if not yes:
        for statement in statements:
            say(f"{statement};")
        return
    place = where(store)
    if isinstance(place, Path):
        raise UsageError("a file has no roles", hint="name a server: --store postgresql://owner@host/name")
    opened = Store(place)
    grant(opened, statements)
    opened.close()
    say(", ".join([*(f"{name} may read" for name in readers), *(f"{name} may add runs" for name in writers)]))


@store.command("send", context_settings=CONTEXT)
@store_option
@bench_option
def send_command(store: str, bench: str) -> None:
    """Send the server's --store what runs here have kept for it while it was away."""
    from harness.inventory.selection import bench_file
    from harness.paths import state_dir
    from harness.results.opening import open_store, where
    from harness.results.sending import kept_in, send, unsent
    from harness.shown import say

    target = where(store)
    if isinstance(target, Path):
        raise UsageError(
            "there is nothing to send to a file", hint="name a server: --store postgresql://user@host/name"
        )
    state = state_dir(bench_file(bench))
    if not unsent(state, target):
        say("nothing is kept for it")
        return
    local = open_store(str(kept_in(target, state)))
    report = send(local, target, state)
    local.close()
    _tell(report)


def _lines(file: str) -> Iterator[str]:
    from harness.results.exchange import LONGEST_LINE

    try:
        with sys.stdin if file == "-" else Path(file).open(encoding="utf-8", errors="surrogateescape") as source:
            while line := source.readline(LONGEST_LINE + 1):
                yield line
    except OSError as problem:
        raise UsageError(f"{file} cannot be read: {problem.strerror}", hint="give the path of an export") from None


def _tell(report: Imported) -> None:
    from rich.text import Text

    from harness.shown import Terminal

    console = Terminal()
    added = ("runs", "scenarios", "events", "calibrations")
    console.print("new: " + ", ".join(f"{getattr(report, name)} {name}" for name in added))
    if report.conflicts:
        console.print(Text(f"{report.conflicts} records are in the store with another content, which stays:", "yellow"))
        for name in report.named:
            console.print(Text(f"  {name}"), soft_wrap=True)
