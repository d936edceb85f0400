"""``harness selfcheck``."""

from __future__ import annotations

import fnmatch
import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from harness.errors import UsageError
from harness.proving.defect_matrix import Finding, cases, run_cases
from harness.results.report.json_report import write_json
from harness.results.report.terminal import terminal
from harness.shown import Terminal


def selfcheck(
    defects: tuple[str, ...], healthy: int, board_id: str, all_suites: bool, jobs: int, list_only: bool, json_file: str
) -> None:
    """Prove the suites: DEFECTS (patterns; default: all of its runtime's) on a virtual board; each must be caught.

    A defect is caught when a scenario fails that names the right thing; the healthy firmware must not be blamed.
    Exit code 0: all caught and no false alarm; 1: something was missed; 3: the healthy firmware was blamed.
    """
    from harness.chips import CHIPS
    from harness.inventory.load import load_bench
    from harness.paths import shipped_bench
    from harness.virtual.defects import DEFECTS

    bench_file = shipped_bench()
    board = load_bench(bench_file).board(board_id)
    if board is None or board.virtual is None:
        raise UsageError(f"{board_id!r} is no virtual board of the bench that comes with the harness")
    names = [
        name
        for name, defect in DEFECTS.items()
        if defect.runtime == board.runtime
        and (not defects or any(fnmatch.fnmatch(name, pattern) for pattern in defects))
    ]
    if not names:
        raise UsageError(
            f"no defect of {board.runtime} matches {' '.join(defects)!r}",
            hint="harness selfcheck --list shows them; --board chooses a board with another runtime",
        )
    console = terminal(to_stderr=json_file == "-")
    if list_only:
        table = Table(box=None, padding=(0, 2))
        for heading in ("defect", "suite", "what is wrong"):
            table.add_column(heading)
        for name in names:
            table.add_row(name, DEFECTS[name].suite, DEFECTS[name].sentence)
        console.print(table)
        return
    family = CHIPS[board.chip].family
    silent = [name for name in names if family not in DEFECTS[name].families]
    if silent:
        console.print(
            f"left out, as no program can tell them on the {board.chip}: {', '.join(silent)}", highlight=False
        )
    names = [name for name in names if name not in silent]
    todo = cases(names, healthy=healthy, all_suites=all_suites)
    columns = (
        TextColumn("selfcheck"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} runs"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Terminal(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=len(todo))
        findings = run_cases(todo, board, bench_file, jobs=jobs, done=lambda _finding: bar.advance(task))
    order = {name: index for index, name in enumerate(names)}
    seeded = sorted((f for f in findings if f.case.defect), key=lambda f: order[f.case.defect])
    well = [f for f in findings if not f.case.defect]
    _print(console, seeded, well)
    if json_file:
        write_json(json_file, _as_json(seeded, well))
    if len(findings) < len(todo):
        sys.exit(130)
    alarms = any(finding.blamed for finding in well)
    sys.exit(3 if alarms else 0 if all(finding.caught_by for finding in seeded) else 1)


def _print(console: Console, seeded: list[Finding], well: list[Finding]) -> None:
    from harness.virtual.defects import DEFECTS

    table = Table(box=None, padding=(0, 1))
    for heading in ("", "defect", "what is wrong", "caught by"):
        table.add_column(heading, overflow="fold")
    for finding in seeded:
        name = finding.case.defect
        caught = finding.caught_by
        said = caught[0] + (f" and {len(caught) - 1} more" if len(caught) > 1 else "") if caught else "nothing"
        others = [scenario for scenario in (*finding.failed, *finding.errors) if scenario not in caught]
        if not caught and others:
            said = f"nothing that names it; instead {others[0]}"
        style = "green" if caught else "bold red"
        table.add_row(Text("caught" if caught else "missed", style=style), name, DEFECTS[name].sentence, Text(said))
    console.print(table)
    count = sum(bool(finding.caught_by) for finding in seeded)
    alarms = [name for finding in well for name in finding.blamed]
    line = f"{count} of {len(seeded)} defects caught; {len(alarms)} false alarms in {len(well)} healthy runs"
    console.print(Text(line, style="green" if count == len(seeded) and not alarms else "bold red"))
    for name in alarms[:20]:
        console.print(Text(f"  false alarm: {name}"))


def _as_json(seeded: list[Finding], well: list[Finding]) -> dict[str, object]:
    return {
        "defects": [
            {
                "name": finding.case.defect,
                "caught_by": list(finding.caught_by),
                "failed": list(finding.failed),
                "errors": list(finding.errors),
                "seconds": round(finding.seconds, 2),
            }
            for finding in seeded
        ],
        "healthy_runs": len(well),
        "false_alarms": sum(len(finding.blamed) for finding in well),
        "blamed": sorted({name for finding in well for name in finding.blamed}),
    }
