"""``harness doctor``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from harness.cli.options import CONTEXT, bench_option, board_named, json_option
from harness.errors import EXIT_BENCH_FAULT


@click.command(context_settings=CONTEXT)
@bench_option
@click.option("--power", "power", default="", metavar="BOARD", help="Also cut BOARD's power, and see whether it goes.")
@json_option
def doctor(bench: str, power: str, json_file: str) -> None:
    """Say what on this machine is in the way of a bench, and the command that mends it.

    Looks at permissions, ModemManager and brltty, USB suspend, identities, tools, disk and the reference VM.
    Changes nothing and opens no port; only --power switches something. Exit code 3 when a run would fail.
    """
    import getpass

    from harness.bench.device_of import device_of
    from harness.bench.doctor import Patient, examine
    from harness.bench.host_machine import Machine
    from harness.bench.power_check import check_power
    from harness.cli.findings import print_findings
    from harness.inventory.load import load_bench
    from harness.inventory.locks import board_lock
    from harness.inventory.selection import bench_file
    from harness.paths import state_dir
    from harness.results.report.json_report import write_json
    from harness.shown import Terminal

    console = Terminal(stderr=json_file == "-")
    here = bench or Path("boards.yaml").exists()
    file = bench_file(bench) if here else Path("boards.yaml")
    loaded = load_bench(file, check_files=False) if here else None
    patient = Patient(Machine(), loaded, state_dir(file), getpass.getuser())
    findings = examine(patient)
    if power:
        board, state = board_named(power, bench)
        with board_lock(board, state, purpose="harness doctor --power"):
            device = device_of(board, state)
            try:
                findings.append(check_power(board, device.switch_now(), patient.ports_now))
            finally:
                device.close()
    print_findings(console, findings)
    if json_file:
        write_json(json_file, {"findings": [asdict(finding) for finding in findings]})
    sys.exit(EXIT_BENCH_FAULT if any(finding.severity == "problem" for finding in findings) else 0)
