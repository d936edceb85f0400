"""``harness explore PROGRAM``."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from harness.campaigns.explore_report import Report, as_implemented, by_contract
from harness.errors import UsageError
from harness.reference.explore.explorer import Limits
from harness.results.report.json_report import write_json
from harness.runtimes.program import read_program
from harness.shown import Terminal

if TYPE_CHECKING:
    from harness.reference.own_tree.build import Build

_LIBRARY_LIMIT = 4 * 1024 * 1024


@dataclass(frozen=True)
class Options:
    """What the command was given."""

    strikes: int
    level: str
    as_implemented: bool
    reference: str
    chip: str | None
    budget: float
    point: str
    every_point: bool
    points: int
    limit: int
    heap: int
    lib: Path | None
    json_file: str

    def check(self) -> None:
        if self.points < 1 or self.limit < 1000 or not 8192 <= self.heap <= 16 * 1024 * 1024 or self.budget <= 0:
            raise UsageError(
                "--points, --limit, --heap or --budget is out of range", hint="at least 1, 1000, 8192, and above 0"
            )
        asked = [name for name, given in self._by_contract_only.items() if given]
        if self.as_implemented and asked:
            raise UsageError(
                f"{asked[0]} goes with the exploration by contract only", hint="leave --as-implemented out"
            )
        if self.every_point and not self.as_implemented:
            raise UsageError("--every-point goes with --as-implemented; by contract each point has its own run")

    @property
    def _by_contract_only(self) -> dict[str, bool]:
        return {
            "--strikes 2": self.strikes > 1,
            "--level hard": self.level == "hard",
            "--reference": bool(self.reference),
            "--chip": self.chip is not None,
        }

    @property
    def needs_built(self) -> bool:
        return any(self._by_contract_only.values())

    @property
    def limits(self) -> Limits:
        return Limits(self.limit, self.points, self.budget)


def explore_program(program: Path, options: Options) -> None:
    """Run PROGRAM's main() with its interrupt at every point; print what came of it and exit by it."""
    options.check()
    source, _own = read_program(program, "explore")
    console = Terminal(stderr=options.json_file == "-")
    quiet = Terminal(stderr=True)

    def note(text: str) -> None:
        quiet.print(Text(text, style="dim"))

    built = None if options.as_implemented else chosen(options.reference, needed=options.needs_built)
    files = library(source, options.lib, note)
    columns = (TextColumn("exploring"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    started = time.perf_counter()
    with Progress(*columns, TimeRemainingColumn(), console=quiet, transient=True, disable=not quiet.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        if built is None:
            why = "" if options.as_implemented else ", for no reference was built here (harness reference build TREE)"
            report: Report = as_implemented(source, options, files, note, progress, why)
        else:
            report = by_contract(source, options, files, built, progress)
    console.print(Text(report.title(program.name, time.perf_counter() - started)))
    report.print(console)
    if options.json_file:
        write_json(options.json_file, {"program": program.name, **report.as_json()})
    sys.exit(0 if report.safe else 1)


def chosen(name: str, *, needed: bool) -> tuple[bytes, Build] | None:
    """The built reference of that name, else the newest that can be explored by the contract; None when there is none.

    Raises UsageError for one that there is not, or that an older harness built, and when one is ``needed``.
    """
    from harness.reference.own_tree import kept
    from harness.reference.own_tree.build import PORT_VERSION

    if name:
        module, said = kept.find(name)
        if said.port_version < PORT_VERSION:
            raise UsageError(
                f"the reference {said.label} was built by an older harness", hint="harness reference build TREE again"
            )
        return module, said
    for said in kept.all_kept():
        if said.port_version >= PORT_VERSION:
            return kept.module_of(said), said
    if needed:
        raise UsageError(
            "--strikes 2, --level hard and --chip need a reference that was built from a source tree",
            hint="harness reference build TREE --board PORT/BOARD",
        )
    return None


def library(source: str, lib: Path | None, note: Callable[[str], None]) -> dict[str, bytes]:
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
        files |= asyncio_files(note)
    return {f"/lib/{name}": data for name, data in files.items()}
