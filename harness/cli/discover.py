"""``harness discover``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import CONTEXT, json_option
from harness.errors import EXIT_BENCH_FAULT, HarnessError

if TYPE_CHECKING:
    from harness.bench.plugged import Plugged
    from harness.bench.probe_port import Answer


@click.command(context_settings=CONTEXT)
@click.option("--probe", "probed", multiple=True, metavar="PORT", help="Ask the board at PORT what it is; resets it.")
@click.option("--write", "write", default="", metavar="FILE", help="Add what is new to this boards.yaml.")
@json_option
def discover(probed: tuple[str, ...], write: str, json_file: str) -> None:
    """List what is plugged in: serial ports, USB boot loaders, debug probes.

    No port is opened, and so no board reset, but those named with --probe: they say which VM runs, on which chip,
    with which MAC or unique id. --write adds each to a bench file, and keeps its comments.
    """

    from harness.bench.bench_entries import Change, update_bench
    from harness.bench.host_machine import Machine
    from harness.bench.plugged import plugged_in
    from harness.bench.probe_port import Answer, probe
    from harness.cli.findings import print_parts
    from harness.results.report.json_report import write_json
    from harness.shown import Terminal

    console = Terminal(stderr=json_file == "-")
    seen = plugged_in(Machine())
    if not seen:
        print_parts(
            console, "nothing is plugged in that looks like a board: no USB serial port, boot loader or debug probe"
        )
    else:
        rows = [("port", "vid:pid", "serial", "location", "what")]
        for device in seen:
            shared = " (shared)" if device.shared_serial else ""
            rows.append(
                (
                    device.port or device.kind,
                    device.vid_pid,
                    device.usb_serial + shared or "-",
                    device.usb_location,
                    device.what,
                )
            )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:  # not a table of rich's: it cuts serial numbers short, and they are here to be copied
            line = "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
            print_parts(console, (line.rstrip(), "bold" if row is rows[0] else ""))
    if any(device.shared_serial for device in seen):
        print_parts(console, "(shared): several devices have this serial number; only the location tells them apart")
    answers: list[Answer] = []
    code = 0
    for port in probed:
        try:
            answer = probe(port)
        except HarnessError as problem:
            answer, code = Answer(port, problems=(str(problem),)), problem.exit_code
        answers.append(answer)
        known = [answer.chip, answer.mac or answer.uid, answer.runtime, answer.version, answer.machine]
        print_parts(console, (port, "bold"), ": ", ", ".join(text for text in known if text) or "nothing answered")
        for text in answer.problems:
            print_parts(console, "  ", (text, "magenta"))
    changes: list[Change] = []
    if write:
        changes = update_bench(Path(write), seen, {answer.port: answer for answer in answers})
        for change in changes:
            style = "magenta" if change.what == "differs" else "green" if change.what != "known" else ""
            print_parts(console, (change.what, style), f" {change.board} at {change.port}  {change.detail}")
        if not changes:
            print_parts(console, f"{write}: nothing to write")
        if any(change.what == "differs" for change in changes):
            print_parts(console, "a board that differs was swapped, or its entry is wrong: nothing was changed in it")
            code = code or EXIT_BENCH_FAULT
    if (port := _unknown(seen, answers)) and not write:
        print_parts(
            console, (f"next: harness onboard {port}", "bold"), " looks at it, writes its entry, runs a first plan"
        )
    if json_file:
        lists: dict[str, Sequence[Any]] = {"plugged": seen, "probed": answers, "changes": changes}
        write_json(json_file, {name: [asdict(device) for device in items] for name, items in lists.items()})
    sys.exit(code)


def _unknown(seen: Sequence[Plugged], answers: Sequence[Answer]) -> str:
    """A port to go on with: the first that answered, or the first there is; empty when there is none."""
    answered = [answer.port for answer in answers if answer.runtime or answer.chip]
    return next(iter([*answered, *(plug.port for plug in seen if plug.port)]), "")
