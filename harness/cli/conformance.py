"""``harness conformance``: run upstream-style test programs on a VM and say what each came to."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import CONTEXT, bench_option, json_option
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.inventory.model import Board

if TYPE_CHECKING:  # the other commands need none of this to start
    from rich.console import Console
    from rich.progress import Progress

    from harness.campaigns.conformance.conformance_programs import Program
    from harness.campaigns.conformance.conformance_run import Result


@click.command(context_settings=CONTEXT)
@click.argument("programs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--on", "target", default="reference", show_default=True, metavar="VM", help="reference, native, a path, a board."
)
@bench_option
@click.option("--flash", is_flag=True, help="Flash the board first (default: test the firmware it holds).")
@click.option("--heap", type=int, metavar="BYTES", help="Raw heap of a VM on this machine, tables included.")
@click.option("--timeout", default=30.0, show_default=True, metavar="SECONDS", help="What each program may take.")
@click.option("-v", "--verbose", is_flag=True, help="A line for every program, not only for the failures.")
@json_option
def conformance(
    programs: tuple[Path, ...],
    target: str,
    bench: str,
    flash: bool,
    heap: int | None,
    timeout: float,
    verbose: bool,
    json_file: str,
) -> None:
    """Run test programs in the form of MicroPython's own (x.py, x.py.exp) in folders or files.

    Each one has a VM started anew. Without an .exp file, what CPython prints is expected. VM is "reference",
    "native" (HARNESS_NATIVE_VM, or micropython on PATH), the path of a WASI or a native unix build, or a board of
    the bench.
    """
    from harness.campaigns.conformance.conformance_programs import collect
    from harness.campaigns.conformance.conformance_report import exit_code, one_line, print_report, to_json
    from harness.campaigns.conformance.conformance_run import Outcome, run_programs
    from harness.campaigns.conformance.conformance_target import Request, opened
    from harness.results.report.json_report import write_json
    from harness.results.report.terminal import terminal
    from harness.shown import plain

    if heap is not None and not 4096 <= heap <= 64 * 1024 * 1024:
        raise UsageError(f"--heap {heap} is not possible", hint="give 4096 to 67108864 bytes")
    if not 0 < timeout <= 3600:
        raise UsageError(f"--timeout {timeout:g} is not possible", hint="give up to 3600 seconds")
    chosen = collect(programs)
    console = terminal(to_stderr=json_file == "-")

    with _progress(console, len(chosen)) as progress:
        task = progress.task_ids[0]

        def step(what: str, _done: int, _total: int) -> None:
            progress.update(task, description=what)

        def watch(program: Program, result: Result | None) -> None:
            progress.update(task, description=plain(program.name, 60), advance=0 if result is None else 1)
            if result is not None and verbose and result.outcome is not Outcome.FAILED:
                console.print(one_line(result), soft_wrap=True)

        with opened(Request(target, heap, flash), lambda name: _board(name, bench), step) as vm:
            facts = vm.facts
            report = run_programs(chosen, vm, timeout=timeout, watch=watch)
    where = f"{target}: {plain(facts.name, 40)} {plain(facts.version, 120)}, words of {facts.word_size} bytes"
    print_report(report, console, where=where)
    if json_file:
        write_json(json_file, to_json(report, target, facts))
    sys.exit(exit_code(report))


def _board(name: str, bench: str) -> tuple[Board, Path]:
    """The board of that id, and the state folder of its bench."""
    from harness.inventory.load import load_bench
    from harness.inventory.selection import bench_file
    from harness.paths import state_dir

    file = bench_file(bench)
    loaded = load_bench(file)
    for board in loaded.boards:
        if board.id == name:
            return board, state_dir(file)
    known = ", ".join(board.id for board in loaded.boards)
    raise UsageError(f"there is no VM {name!r}", hint=f"reference, native, the path of a build, or a board: {known}")


@contextmanager
def _progress(console: Console, total: int) -> Iterator[Progress]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task("", total=total)
        yield progress
