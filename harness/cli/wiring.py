"""``harness wiring``."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import asdict, replace

import click

from harness.cli.options import CONTEXT, bench_option, board_named, json_option
from harness.errors import EXIT_BENCH_FAULT, UsageError


@click.command(context_settings=CONTEXT)
@click.argument("board")
@bench_option
@click.option("--flash", is_flag=True, help="Flash the board first (virtual boards: always).")
@click.option("--press", is_flag=True, help="Ask you to press the button, and see it pressed.")
@json_option
def wiring(board: str, bench: str, flash: bool, press: bool, json_file: str) -> None:
    """Check the wires that boards.yaml claims for BOARD: loopbacks, a UART's, button, GPIO16 to RST.

    Pins are told with what is printed beside them ('wiring.labels' says on which board). Those named under 'wiring' are
    driven, one at a time: take off what must not be. Exit code 3 when a wire is
    missing, swapped or shorted.
    """

    from harness.bench.attach import Options, attach
    from harness.bench.wiring_check import check_wiring
    from harness.chips.silk import with_labels
    from harness.cli.findings import print_findings, print_parts
    from harness.cli.steps import steps
    from harness.results.report.json_report import write_json
    from harness.runtimes.traits import all_traits, traits_of
    from harness.shown import Terminal

    chosen, state = board_named(board, bench)
    if not traits_of(chosen.runtime).checks_wiring:
        able = " or ".join(traits.title for traits in all_traits() if traits.checks_wiring)
        raise UsageError(f"board {board!r}: its wiring can be checked with {able} alone, it has {chosen.runtime}")
    console = Terminal(stderr=json_file == "-")
    options = Options(state, flash=True if flash else None, attended=console.is_terminal)
    with steps(console, chosen.id) if console.is_terminal else nullcontext(lambda *_: None) as report:
        attached = attach(chosen, options, report)

    def ask_to_press(down: bool) -> None:
        if down:
            print_parts(console, (f"press and hold the button at pin {chosen.wiring.button} now", "bold"))

    try:
        findings = check_wiring(chosen, attached.runtime, attached.device.press or (ask_to_press if press else None))
    finally:
        attached.close()
    findings = [
        replace(
            finding,
            what=with_labels(finding.what, chosen.chip, chosen.wiring.labels),
            fix=with_labels(finding.fix, chosen.chip, chosen.wiring.labels),
        )
        for finding in findings
    ]
    print_findings(console, findings)
    if json_file:
        write_json(json_file, {"board": chosen.id, "findings": [asdict(finding) for finding in findings]})
    sys.exit(EXIT_BENCH_FAULT if any(finding.severity == "problem" for finding in findings) else 0)
