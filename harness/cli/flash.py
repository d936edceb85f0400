"""``harness flash``: only flash what differs, and check who answers."""

from __future__ import annotations

import sys
from typing import Any

import click

from harness.cli.options import CONTEXT, bench_option, boards_option, json_option, load_chosen, variant_option
from harness.errors import HarnessError, Interrupted


@click.command(context_settings=CONTEXT)
@bench_option
@boards_option
@variant_option
@json_option
def flash(bench: str, boards: str | None, variant: str, json_file: str) -> None:
    """Flash the boards with their firmware (only what differs), and check that it answers."""
    from rich.text import Text

    from harness.bench.attach import Options, attach
    from harness.bench.checked_firmware import check_images
    from harness.cli.steps import steps
    from harness.paths import state_dir
    from harness.results.report.json_report import write_json
    from harness.shown import Terminal

    file, chosen = load_chosen(bench, boards, to_stderr=json_file == "-")
    check_images(chosen)
    console = Terminal(stderr=json_file == "-")
    options = Options(state_dir(file), variant=variant or None, purpose="harness flash", attended=console.is_terminal)
    results: list[dict[str, Any]] = []
    code = 0
    for board in chosen:
        problem: HarnessError | None = None
        with steps(console, board.id) as report:
            try:
                attached = attach(board, options, report)
            except HarnessError as found:
                problem = found
            except KeyboardInterrupt:
                raise Interrupted(
                    f"{board.id} may hold a part of its firmware: 'harness flash' writes the rest"
                ) from None
        if problem is not None:
            console.print(Text(f"{board.id}: {problem}", style="magenta"), soft_wrap=True)
            code = max(code, problem.exit_code)
            results.append({"id": board.id, "outcome": "error", "reason": str(problem)})
            continue
        done = attached.flashed
        line = f"{board.id}: {attached.firmware.name} {attached.firmware.version}"
        if done is not None:
            line += f": {done.written} bytes written, {done.unchanged} unchanged, {done.seconds:.2f} s"
        warnings = [*(done.warnings if done else ()), *attached.warnings]
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
