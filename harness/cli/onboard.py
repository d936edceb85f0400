"""``harness onboard``: an hour with an unknown board."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import CONTEXT
from harness.errors import EXIT_BENCH_FAULT, BenchFault, HarnessError, Interrupted

if TYPE_CHECKING:
    from rich.console import Console

    from harness.bench.bench_entries import Change
    from harness.bench.onboarding import Onboarding, Question, Row
    from harness.bench.probe_port import Answer


#: Columns of what a row is about.
_LABEL = 13


@click.command(context_settings=CONTEXT)
@click.argument("port")
@click.option("--bench", "file", default="boards.yaml", show_default=True, metavar="FILE", help="Gets the entry.")
@click.option("--backup", default="", metavar="FILE", help="First read the board's whole flash into FILE.")
@click.option("--baud", type=click.IntRange(300, 4_000_000), default=115200, show_default=True, help="Console's rate.")
@click.option("--dry-run", is_flag=True, help="Only say what it is, and show the entry.")
@click.option("--no-run", is_flag=True, help="Leave out the first short run.")
@click.pass_context
def onboard(context: click.Context, port: str, file: str, backup: str, baud: int, dry_run: bool, no_run: bool) -> None:
    """Look at the unknown board at PORT, write its entry into a bench file, and run a first short plan on it.

    The look writes nothing to the board; it interrupts its program, and resets the chip. The plan does not write its
    flash either: it tests the firmware that is there. What the board cannot tell is asked at a terminal, and else
    stands as a comment in the entry.
    """
    from harness.bench.bench_entries import real_address, update_bench
    from harness.bench.flash_backup import require_free
    from harness.bench.flash_holds import what_it_holds
    from harness.bench.host_machine import Machine
    from harness.bench.onboarding import FIRST_PLAN, Onboarding
    from harness.bench.plugged import plugged_in
    from harness.cli.steps import steps
    from harness.shown import Terminal

    console = Terminal()
    if backup:
        require_free(Path(backup))
    address = real_address(port)
    seen = [plug for plug in plugged_in(Machine()) if plug.port == address]
    with steps(console, port) as report:
        answer = _asked(address, baud, report, console)
        held = what_it_holds(address, answer, report) if answer.esp and not answer.runtime else ""
    board = Onboarding(answer, next(iter(seen), None), baud, held)
    _print_rows(console, address, board.found())
    if backup:
        _back_up(board, address, Path(backup), Path(file), console)
    answers = _ask(board.questions(), console) if _at_terminal() and not dry_run else {}
    _print_rows(console, "What may be done with it", board.allowed(answers))
    settings = {address: board.settings(answers)}
    entries = {address: answer}
    (change,) = update_bench(Path(file), seen, entries, settings=settings, write=False)
    _show(change, file, console)
    if change.what == "differs":
        sys.exit(EXIT_BENCH_FAULT)
    if dry_run:
        console.print(f"{file}: nothing was written (--dry-run)")
        return
    if change.what == "added" and _at_terminal() and not click.confirm(f"Write it to {file}?", default=True):
        return
    update_bench(Path(file), seen, entries, settings=settings)
    if change.what != "known":
        console.print(f"{file}: {change.board} {change.what}", soft_wrap=True)
    plan = FIRST_PLAN.get(answer.runtime) if board.known_vm else None
    if no_run or plan is None:
        why = "" if no_run else "; no first run: nothing runs on it that could be tested"
        console.print(f"next: harness run --bench {file} --boards {change.board} --no-flash{why}", soft_wrap=True)
        return
    from harness.cli.run import run

    context.invoke(run, bench=file, boards=change.board, keywords=plan, no_flash=True)


def _asked(address: str, baud: int, report: Any, console: Console) -> Answer:
    """What is at ``address``. Raises BenchFault when nothing answers, with what is in the way on this computer."""
    from harness.bench.probe_port import probe

    try:
        answer = probe(address, baud=baud, closely=True, progress=report)
    except HarnessError:
        _print_in_the_way(console)
        raise
    if answer.runtime or answer.chip:
        return answer
    _print_in_the_way(console)
    came = f"; it prints {answer.heard[:200]!r}" if answer.heard else ""
    told = "".join(f"\n  {text}" for text in answer.problems)
    raise BenchFault(
        f"{address}: no VM and no boot loader answers at {baud} baud{came}{told}",
        hint="another rate (--baud); hold BOOT while you press RESET, and call it again; another cable: some only "
        "charge; is it the console's port, and the chip an ESP or one with MicroPython, CircuitPython or NodeMCU?",
    )


def _print_in_the_way(console: Console) -> None:
    """What ``harness doctor`` would say of the way to the port."""
    import getpass

    from harness.bench.doctor import Patient, examine
    from harness.bench.host_machine import Machine
    from harness.cli.findings import print_findings
    from harness.paths import state_dir

    checks = ("permissions", "ModemManager", "brltty", "autosuspend")
    findings = examine(Patient(Machine(), None, state_dir(Path("boards.yaml")), getpass.getuser()))
    print_findings(
        console, [found for found in findings if found.check in checks and found.severity in ("problem", "warning")]
    )


def _at_terminal() -> bool:
    return sys.stdin.isatty()


def _ask(questions: list[Question], console: Console) -> dict[str, str]:
    """An answer for each question; Return takes the default."""
    answers = {}
    if questions:
        console.print("\nWhat it cannot tell (Return takes what stands in brackets)", style="bold")
    for question in questions:
        if question.kind == "two pins":
            answers[question.key] = click.prompt(
                question.text, default=question.default, value_proc=_two_pins, show_default=False
            )
        else:
            yes = click.confirm(question.text, default=question.default == "yes")
            answers[question.key] = "yes" if yes else "no"
    return answers


def _two_pins(text: str) -> str:
    """Two pins as ``18 19``; empty for none."""
    if text.strip().lower() in ("", "none", "no", "n", "-"):
        return ""
    from harness.inventory.fields import check_pin

    words = [word for word in re.split(r"[\s,\[\]]+", text) if word]
    try:
        pins = [check_pin(int(word) if word.isdecimal() else word) for word in words]
    except ValueError as problem:
        raise click.UsageError(str(problem)) from None
    if len(pins) != 2 or pins[0] == pins[1]:
        raise click.UsageError("two pins, such as 18 19 or A0 A1; Return for none")
    return " ".join(map(str, pins))


def _back_up(board: Onboarding, address: str, file: Path, bench: Path, console: Console) -> None:
    from harness.bench.bench_entries import board_at
    from harness.bench.flash_backup import back_up, note_of
    from harness.cli.findings import print_parts
    from harness.cli.steps import steps
    from harness.paths import state_dir

    there = board_at(address, board.chip)
    try:
        with steps(console, "backup") as report:
            note = back_up(there, state_dir(bench), file, report)
    except KeyboardInterrupt:
        raise Interrupted("no backup was written, and nothing to the board") from None
    print_parts(
        console,
        ("\nbackup", "bold"),
        f": {note.size} bytes in {file}, SHA-256 {note.sha256[:16]}…, its note in {note_of(file)}"
        f"\n  back with: harness restore {address} {file}",
    )
    if note.encrypted:
        print_parts(console, ("  the chip encrypts its flash: only this very chip can read what was saved", "yellow"))


def _print_rows(console: Console, title: str, rows: list[Row]) -> None:
    import textwrap

    from harness.cli.findings import print_parts
    from harness.shown import one_line

    print_parts(console, (f"\n{title}", "bold"))
    room = max(40, console.width - _LABEL)
    for label, text in rows:
        lines = textwrap.wrap(one_line(text, 600), room) or [""]
        print_parts(console, (label.ljust(_LABEL), "cyan"), lines[0])
        for line in lines[1:]:
            print_parts(console, " " * _LABEL, line)


def _show(change: Change, file: str, console: Console) -> None:
    from harness.cli.findings import print_parts

    if change.what == "added":
        print_parts(console, (f"\nThe entry for {file}", "bold"))
        print_parts(console, change.entry.rstrip("\n"))
    elif change.what == "differs":
        print_parts(console, (f"\n{change.board}", "bold"), f" of {file} should be here: {change.detail}")
        print_parts(console, "a board was swapped, or the entry is wrong: nothing was changed")
    else:
        told = f", which gets {change.detail}" if change.what == "updated" else ", which stays as it is"
        print_parts(console, (f"\n{file}", "bold"), f" has an entry for it already: {change.board}{told}")
