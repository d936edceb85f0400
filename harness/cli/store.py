"""``harness store``: what is in a results store, and taking it elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from harness.errors import UsageError
from harness.paths import state_dir
from harness.plugin import bench_file
from harness.results.database import Location, location
from harness.results.exchange import LONGEST_LINE, Imported, counts, export_lines, import_lines, merge
from harness.results.report.json_report import write_json
from harness.results.store import Store

_CONTEXT = {"help_option_names": ["-h", "--help"]}
store_option = click.option(
    "--store", default="", metavar="FILE|URL", help="Results store (default: .harness/results.sqlite of the bench)."
)


def where(option: str) -> Location:
    return location(option, state_dir(bench_file("")) / "results.sqlite")


def open_store(option: str) -> Store:
    """The store that ``--store`` names. Raises UsageError for a file that is not there: reading makes none."""
    place = where(option)
    if isinstance(place, Path) and not place.exists():
        raise UsageError(
            f"there is no results store {str(place)!r}", hint="name one with --store, or run 'harness run'"
        )
    return Store(place)


@click.group("store", context_settings=_CONTEXT)
def store_group() -> None:
    """What is in a results store; export, import and merge it."""


@store_group.command("info", context_settings=_CONTEXT)
@store_option
@click.option("--json", "json_file", default="", metavar="FILE", help="Also write it as JSON ('-': standard output).")
def info_command(store: str, json_file: str) -> None:
    """How many runs, boards and figures, and from when to when."""
    opened = open_store(store)
    found = counts(opened)
    opened.close()
    console = Console(stderr=json_file == "-")
    boards = found["boards"]
    console.print(Text(opened.name, style="bold"), soft_wrap=True)
    shown = ", ".join(boards[:10]) + (" …" if len(boards) > 10 else "")
    console.print(Text(f"{found['run']} runs of {len(boards)} boards: {shown}"))
    console.print(f"{found['scenario']} scenarios, {found['measurement']} measurements of {found['series']} figures")
    if found["first"] is not None:
        first, last = (time.strftime("%Y-%m-%d %H:%M", time.localtime(found[n])) for n in ("first", "last"))
        console.print(f"from {first} to {last}")
    if json_file:
        write_json(json_file, {"store": opened.name, **found})


@store_group.command("export", context_settings=_CONTEXT)
@click.argument("file", default="-")
@click.option("--run", "runs", type=int, multiple=True, metavar="ID", help="Only this run; may be given several times.")
@store_option
def export_command(file: str, runs: tuple[int, ...], store: str) -> None:
    """Write the store to FILE as JSON Lines ('-': standard output)."""
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


@store_group.command("import", context_settings=_CONTEXT)
@click.argument("file")
@store_option
def import_command(file: str, store: str) -> None:
    """Add the runs of FILE, an export ('-': standard input), that the store has not."""
    target = Store(where(store))
    report = import_lines(target, _lines(file), source=file)
    target.close()
    _tell(report)


@store_group.command("merge", context_settings=_CONTEXT)
@click.argument("sources", nargs=-1, required=True)
@store_option
def merge_command(sources: tuple[str, ...], store: str) -> None:
    """Add the runs of the stores SOURCES (files or URLs) that the store has not; again changes nothing."""
    target = Store(where(store))
    for source in sources:
        other = open_store(source)
        report = merge(target, other)
        other.close()
        Console().print(Text(f"{other.name}:", style="bold"), soft_wrap=True)
        _tell(report)
    target.close()


def _lines(file: str) -> Iterator[str]:
    try:
        with sys.stdin if file == "-" else Path(file).open(encoding="utf-8", errors="surrogateescape") as source:
            while line := source.readline(LONGEST_LINE + 1):
                yield line
    except OSError as problem:
        raise UsageError(f"{file} cannot be read: {problem.strerror}", hint="give the path of an export") from None


def _tell(report: Imported) -> None:
    console = Console()
    added = ("runs", "scenarios", "events", "calibrations")
    console.print("new: " + ", ".join(f"{getattr(report, name)} {name}" for name in added))
    if report.conflicts:
        console.print(Text(f"{report.conflicts} records are in the store with another content, which stays:", "yellow"))
        for name in report.named:
            console.print(Text(f"  {name}"), soft_wrap=True)
