"""The commands of setting up: ``harness discover``, ``doctor``, ``wiring`` and ``power``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from harness.bench.finding import Finding
from harness.errors import EXIT_BENCH_FAULT, HarnessError, UsageError
from harness.inventory.load import load_bench
from harness.inventory.model import Board
from harness.paths import state_dir
from harness.plugin import bench_file
from harness.results.report.json_report import write_json

_CONTEXT = {"help_option_names": ["-h", "--help"]}
_bench_option = click.option("--bench", "bench", default="", metavar="FILE", help="Bench file (default: boards.yaml).")
_json_option = click.option("--json", "json_file", default="", metavar="FILE", help="Also write JSON ('-': stdout).")


def _board_named(name: str, bench: str) -> tuple[Board, Path]:
    file = bench_file(bench)
    if not file.exists():
        raise UsageError(f"there is no bench file {str(file)!r}", hint="name one with --bench")
    loaded = load_bench(file, check_files=False)
    board = loaded.board(name)
    if board is None:
        known = ", ".join(board.id for board in loaded.boards)
        raise UsageError(f"there is no board {name!r} in this bench", hint=f"its boards: {known}")
    return board, state_dir(file)


def _print(console: Console, *parts: Any) -> None:
    console.print(Text.assemble(*parts), soft_wrap=True)


def _print_findings(console: Console, findings: Sequence[Finding]) -> None:
    styles = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "bold red"}
    for finding in findings:
        _print(console, (f"{finding.severity:8}", styles[finding.severity]), f"{finding.check}: {finding.what}")
        if finding.fix:
            _print(console, " " * 10, (finding.fix, "dim"))


@click.command(context_settings=_CONTEXT)
@click.option("--probe", "probed", multiple=True, metavar="PORT", help="Ask the board at PORT what it is; resets it.")
@click.option("--write", "write", default="", metavar="FILE", help="Add what is new to this boards.yaml.")
@_json_option
def discover(probed: tuple[str, ...], write: str, json_file: str) -> None:
    """List what is plugged in: serial ports, USB boot loaders, debug probes.

    No port is opened, and so no board reset, but those named with --probe: they say which VM runs, on which chip,
    with which MAC or unique id. --write adds each to a bench file, and keeps its comments.
    """
    from harness.bench.bench_entries import Change, update_bench
    from harness.bench.host_machine import Machine
    from harness.bench.plugged import plugged_in
    from harness.bench.probe_port import Answer, probe

    console = Console(stderr=json_file == "-")
    seen = plugged_in(Machine())
    if not seen:
        _print(console, "nothing is plugged in that looks like a board: no USB serial port, boot loader or debug probe")
    else:
        rows = [("port", "vid:pid", "serial", "location", "what")]
        for one in seen:
            shared = " (shared)" if one.shared_serial else ""
            rows.append((one.port or one.kind, one.vid_pid, one.usb_serial + shared or "-", one.usb_location, one.what))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:  # not a table of rich's: it cuts serial numbers short, and they are here to be copied
            line = "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
            _print(console, (line.rstrip(), "bold" if row is rows[0] else ""))
    if any(one.shared_serial for one in seen):
        _print(console, "(shared): several devices have this serial number; only the location tells them apart")
    answers: list[Answer] = []
    code = 0
    for port in probed:
        try:
            answer = probe(port)
        except HarnessError as problem:
            answer, code = Answer(port, problems=(str(problem),)), problem.exit_code
        answers.append(answer)
        known = [answer.chip, answer.mac or answer.uid, answer.runtime, answer.version, answer.machine]
        _print(console, (port, "bold"), ": ", ", ".join(text for text in known if text) or "nothing answered")
        for text in answer.problems:
            _print(console, "  ", (text, "magenta"))
    changes: list[Change] = []
    if write:
        changes = update_bench(Path(write), seen, {answer.port: answer for answer in answers})
        for change in changes:
            style = "magenta" if change.what == "differs" else "green" if change.what != "known" else ""
            _print(console, (change.what, style), f" {change.board} at {change.port}  {change.detail}")
        if any(change.what == "differs" for change in changes):
            _print(console, "a board that differs was swapped, or its entry is wrong: nothing was changed in it")
            code = code or EXIT_BENCH_FAULT
    if json_file:
        lists: dict[str, Sequence[Any]] = {"plugged": seen, "probed": answers, "changes": changes}
        write_json(json_file, {name: [asdict(one) for one in items] for name, items in lists.items()})
    sys.exit(code)


@click.command(context_settings=_CONTEXT)
@_bench_option
@click.option("--power", "power", default="", metavar="BOARD", help="Also cut BOARD's power, and see whether it goes.")
@_json_option
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
    from harness.inventory.locks import board_lock

    console = Console(stderr=json_file == "-")
    file = bench_file(bench)
    if bench and not file.exists():
        raise UsageError(f"there is no bench file {bench!r}")
    loaded = load_bench(file, check_files=False) if file.exists() else None
    patient = Patient(Machine(), loaded, state_dir(file), getpass.getuser())
    findings = examine(patient)
    if power:
        board, state = _board_named(power, bench)
        with board_lock(board, state, purpose="harness doctor --power"):
            findings.append(check_power(board, device_of(board, state).switch_now(), patient.ports_now))
    _print_findings(console, findings)
    if json_file:
        write_json(json_file, {"findings": [asdict(finding) for finding in findings]})
    sys.exit(EXIT_BENCH_FAULT if any(finding.severity == "problem" for finding in findings) else 0)


@click.command(context_settings=_CONTEXT)
@click.argument("board")
@click.argument("action", type=click.Choice(["on", "off", "cycle"]))
@_bench_option
def power(board: str, action: str, bench: str) -> None:
    """Switch the power of BOARD; 'cycle' leaves it off for power.off_seconds.

    A GPIO line is let go when its holder ends: 'on' and 'off' then hold it until Ctrl-C.
    """
    from harness.bench.device_of import device_of
    from harness.inventory.locks import board_lock
    from harness.power.base import cycle
    from harness.power.gpio_line import GpioSwitch

    chosen, state = _board_named(board, bench)
    console = Console()
    with board_lock(chosen, state, purpose=f"harness power {action}"):
        switch = device_of(chosen, state).switch_now()
        if action == "cycle":
            cycle(switch, chosen.power.off_seconds)
        elif action == "on":
            switch.on()
        else:
            switch.off()
        _print(console, (chosen.id, "bold"), f": {action}, by {switch.name}")
        if isinstance(switch, GpioSwitch):
            try:
                if action != "cycle":
                    _print(console, "holding the line until Ctrl-C")
                    switch.wait()
            finally:
                switch.close()


@click.command(context_settings=_CONTEXT)
@click.argument("board")
@_bench_option
@click.option("--flash", is_flag=True, help="Flash the board first (virtual boards: always).")
@click.option("--press", is_flag=True, help="Ask you to press the button, and see it pressed.")
@_json_option
def wiring(board: str, bench: str, flash: bool, press: bool, json_file: str) -> None:
    """Check the wires that boards.yaml claims for BOARD: loopbacks, button, GPIO16 to RST.

    The pins named under 'wiring' are driven, one at a time: take off what must not be. Exit code 3 when a wire is
    missing, swapped or shorted.
    """
    from harness.bench.attach import Options, attach
    from harness.bench.wiring_check import check_wiring
    from harness.runtimes.traits import all_traits, traits_of

    chosen, state = _board_named(board, bench)
    if not traits_of(chosen.runtime).checks_wiring:
        able = " or ".join(traits.title for traits in all_traits() if traits.checks_wiring)
        raise UsageError(f"board {board!r}: its wiring can be checked with {able} alone, it has {chosen.runtime}")
    console = Console(stderr=json_file == "-")
    attached = attach(chosen, Options(state, flash=True if flash else None), lambda *_: None)

    def ask_to_press(down: bool) -> None:
        if down:
            _print(console, (f"press and hold the button at pin {chosen.wiring.button} now", "bold"))

    try:
        findings = check_wiring(chosen, attached.runtime, attached.device.press or (ask_to_press if press else None))
    finally:
        attached.close()
    _print_findings(console, findings)
    if json_file:
        write_json(json_file, {"board": chosen.id, "findings": [asdict(finding) for finding in findings]})
    sys.exit(EXIT_BENCH_FAULT if any(finding.severity == "problem" for finding in findings) else 0)


COMMANDS = (discover, doctor, power, wiring)
