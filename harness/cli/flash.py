"""``harness flash``: only flash what differs, and check who answers."""

from __future__ import annotations

import sys
from typing import Any

import click

from harness.cli.options import CONTEXT, bench_option, boards_option, json_option, load_chosen, variant_option
from harness.errors import HarnessError


@click.command(context_settings=CONTEXT)
@bench_option
@boards_option
@variant_option
@json_option
def flash(bench: str, boards: str, variant: str, json_file: str) -> None:
    """Flash the boards with their firmware (only what differs), and check that it answers."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.text import Text

    from harness.bench.attach import Options, attach
    from harness.bench.checked_firmware import check_images
    from harness.paths import state_dir
    from harness.results.report.json_report import write_json

    file, chosen = load_chosen(bench, boards, to_stderr=json_file == "-")
    check_images(chosen)
    options = Options(state_dir(file), variant=variant or None, purpose="harness flash")
    results: list[dict[str, Any]] = []
    code = 0
    console = Console(stderr=json_file == "-")
    for board in chosen:
        columns = (TextColumn("{task.fields[board]}"), BarColumn(), TextColumn("{task.description}"))
        problem: HarnessError | None = None
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("", board=board.id, total=None)

            def report(step: str, done: int, total: int) -> None:
                progress.update(task, description=step, completed=done, total=total or None)  # noqa: B023

            try:
                attached = attach(board, options, report)
            except HarnessError as found:
                problem = found
        if problem is not None:
            console.print(Text(f"{board.id}: {problem}", style="magenta"), soft_wrap=True)
            code = max(code, problem.exit_code)
            results.append({"id": board.id, "outcome": "error", "reason": str(problem)})
            continue
        done = attached.flashed
        line = f"{board.id}: {attached.firmware.name} {attached.firmware.version}"
        if done is not None:
            line += f": {done.written} bytes written, {done.unchanged} unchanged, {done.seconds:.2f} s"
        warnings = done.warnings if done else []
        console.print(Text("\n  ".join([line, *warnings])), soft_wrap=True)
        results.append(
            {
                "id": board.id,
                "outcome": "pass",
                "reason": "",
                "firmware": vars(attached.firmware),
                "written": done.written if done else 0,
                "unchanged": done.unchanged if done else 0,
                "seconds": round(done.seconds, 3) if done else 0,
                "warnings": warnings,
            }
        )
        attached.close()
    if json_file:
        write_json(json_file, {"boards": results})
    sys.exit(code)
