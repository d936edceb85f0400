"""``harness explore PROGRAM``."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from harness.errors import UsageError
from harness.reference.explore.explorer import Exploration, Limits, Outcome, explore
from harness.reference.explore.rewind import Rewinder
from harness.results.report.json_report import write_json
from harness.runtimes.program import read_program
from harness.shown import Terminal, plain

_LIBRARY_LIMIT = 4 * 1024 * 1024


def explore_program(
    program: Path,
    point: int | None,
    every_point: bool,
    points: int,
    limit: int,
    heap: int,
    lib: Path | None,
    json_file: str,
) -> None:
    """Run PROGRAM's main() with its interrupt at every point at which it can strike.

    PROGRAM defines main() and interrupt(argument), a scheduled callback, and perhaps check(), with plain asserts
    about what must hold at the end. Exit code 0: safe at all points; 1: some point leads to a failure.
    """
    from harness.reference.engine.prepare import vm_module

    if points < 1 or limit < 1000 or not 8192 <= heap <= 16 * 1024 * 1024:
        raise UsageError("--points, --limit or --heap is out of range", hint="at least 1, 1000 and 8192")
    source, _own = read_program(program, "explore")
    console = Terminal(stderr=json_file == "-")
    quiet = Terminal(stderr=True)

    def note(text: str) -> None:
        quiet.print(Text(text, style="dim"))

    rewinder = Rewinder(vm_module(note), source, heap_size=heap, files=_library(source, lib, note))
    columns = (TextColumn("exploring"), BarColumn(), TextColumn("{task.completed}/{task.total} points"))
    started = time.perf_counter()
    with Progress(*columns, TimeRemainingColumn(), console=quiet, transient=True, disable=not quiet.is_terminal) as bar:
        task = bar.add_task("", total=None)
        result = explore(
            rewinder,
            Limits(limit, points),
            every_point=every_point,
            only=point,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    seconds = time.perf_counter() - started
    _print(console, program, source, result, seconds, point)
    if json_file:
        write_json(json_file, _as_json(program, result, point))
    sys.exit(0 if result.safe else 1)


def _library(source: str, lib: Path | None, note: object) -> dict[str, bytes]:
    """What stands under ``/lib``: the modules of ``lib``, and asyncio when the program wants it."""
    from harness.reference.engine.asyncio_package import asyncio_files

    files: dict[str, bytes] = {}
    if lib is not None:
        if not lib.is_dir():
            raise UsageError(f"--lib {str(lib)!r} is not a folder")
        for path in sorted([*lib.rglob("*.py"), *lib.rglob("*.mpy")]):
            files[path.relative_to(lib).as_posix()] = path.read_bytes()
            if sum(map(len, files.values())) > _LIBRARY_LIMIT:
                raise UsageError(
                    f"--lib {str(lib)!r} holds more than 4 MB", hint="name the folder of the modules alone"
                )
    has_own = any(name.startswith(("asyncio/", "asyncio.")) for name in files)
    if re.search(r"^\s*(import|from)\s+asyncio\b", source, re.MULTILINE) and not has_own:
        files |= asyncio_files(note)  # type: ignore[arg-type]
    return {f"/lib/{name}": data for name, data in files.items()}


# -- report --------------------------------------------------------------------------------------


def _where(outcome: Outcome, source: str) -> str:
    place = outcome.place
    if not place.line:
        return "after main() had ended" if outcome.ran else "-"
    lines = source.splitlines()
    if place.file:
        return f"{place.file}:{place.line}, in {place.function}"
    text = lines[place.line - 1].strip() if place.line <= len(lines) else ""
    return f"line {place.line}, in {place.function}: {text}"


def _verdict(result: Exploration) -> str:
    part = "the first " if result.left_out or result.endless else ""
    if result.safe:
        return f"safe at {part or 'all '}{result.points} points"
    count = sum(outcome.count for outcome in result.failures)
    return (
        f"fails at {count} of {part}{result.points} points; smallest failing case: --point {result.failures[0].point}"
    )


def _print(
    console: Console, program: Path, source: str, result: Exploration, seconds: float, point: int | None
) -> None:
    title = f"{program.name}: {result.points} points"
    if point is None:
        title += f", {result.runs} runs, {seconds:.2f} s"
    console.print(Text(title))
    if result.endless:
        console.print(Text("without the interrupt main() does not end", style="dim"))
    table = Table(box=None, padding=(0, 2))
    for heading in ("outcome", "points", "first", "where the callback ran then"):
        table.add_column(heading, justify="right" if heading in ("points", "first") else "left", overflow="fold")
    for outcome in result.outcomes:
        style = "bold red" if outcome.failed else "green"
        shown = outcome.label
        if outcome.output and len(result.outcomes) > 1:
            shown += f"; printed {plain(outcome.output.decode('utf-8', 'replace').strip(), 120)!r}"
        table.add_row(
            Text(plain(shown, 300), style=style),
            str(outcome.count),
            str(outcome.point),
            Text(plain(_where(outcome, source), 300)),
        )
    console.print(table)
    if point is not None:
        for outcome in result.outcomes:
            console.print(Text(plain((outcome.output + outcome.error).decode("utf-8", "replace"), 4000)))
        return
    console.print(Text(_verdict(result), style="green" if result.safe else "bold red"))


def _as_json(program: Path, result: Exploration, point: int | None) -> dict[str, object]:
    return {
        "program": program.name,
        "points": result.points,
        "runs": result.runs,
        "only_point": point,
        "left_out": result.left_out,
        "ends_without_interrupt": not result.endless,
        "late": result.late,
        "safe": result.safe,
        "outcomes": [
            {
                "outcome": outcome.label,
                "failed": outcome.failed,
                "ending": outcome.ending.value,
                "points": outcome.count,
                "first_point": outcome.point,
                "file": outcome.place.file,
                "line": outcome.place.line,
                "function": outcome.place.function,
                "output": outcome.output.decode("utf-8", "replace"),
                "error": outcome.error.decode("utf-8", "replace"),
            }
            for outcome in result.outcomes
        ],
    }
