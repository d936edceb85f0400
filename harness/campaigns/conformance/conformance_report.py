"""The report of a conformance run: a table on the terminal, and JSON.

What a VM printed is untrusted: it is shown without control characters, and cut.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.campaigns.conformance.conformance_run import Outcome, Report, Result
from harness.errors import EXIT_BENCH_FAULT, EXIT_FIRMWARE_FAILED, EXIT_PASS, EXIT_USAGE
from harness.runtimes.interface import Facts
from harness.shown import plain

#: What Ctrl-C gives, as with every command of the harness.
EXIT_INTERRUPTED = 130
_SHOWN = 160
STYLES = {Outcome.PASSED: "green", Outcome.FAILED: "bold red", Outcome.SKIPPED: "dim"}


def exit_code(report: Report) -> int:
    """0 when something was compared and all of it was right; 1 for a failure; 2 when every program was skipped."""
    if report.interrupted:
        return EXIT_INTERRUPTED
    if report.fault is not None:
        return EXIT_BENCH_FAULT
    if report.count(Outcome.FAILED):
        return EXIT_FIRMWARE_FAILED
    return EXIT_PASS if report.count(Outcome.PASSED) else EXIT_USAGE


def one_line(result: Result) -> Text:
    """A result as a line of its own, with the first line that differs for a failure."""
    line = Text.assemble((f"{result.outcome.value:8}", STYLES[result.outcome]), plain(result.name, _SHOWN))
    if result.reason:
        line.append(f": {plain(result.reason, 2 * _SHOWN)}")
    if result.difference is not None:
        line.append(f"\n           expected {_shown(result.difference.expected)}")
        line.append(f"\n           came     {_shown(result.difference.came)}")
    return line


def _shown(text: bytes | None) -> str:
    if text is None:
        return "nothing: the output ends here"
    return plain(repr(text[:_SHOWN].decode("utf-8", "backslashreplace")), 2 * _SHOWN)


def print_report(report: Report, console: Console, *, where: str) -> None:
    """Failures with their first difference, skipped programs by reason, and the counts."""
    for result in report.results:
        if result.outcome is Outcome.FAILED:
            console.print(one_line(result), soft_wrap=True)
    reasons: dict[str, int] = {}
    for result in report.results:
        if result.outcome is Outcome.SKIPPED:
            reasons[result.reason] = reasons.get(result.reason, 0) + 1
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1]):
        console.print(Text(f"skipped {count:5}  {plain(reason, _SHOWN)}", style="dim"), soft_wrap=True)
    console.print(Text(where, style="bold"), soft_wrap=True)
    table = Table(box=None, padding=(0, 2))
    numbers = [(outcome.value, report.count(outcome), STYLES[outcome]) for outcome in Outcome]
    numbers += [("not run", report.not_run, "magenta")] if report.not_run else []
    for heading, _, _ in numbers:
        table.add_column(heading, justify="right")
    table.add_row(*(Text(str(number), style=style) for _, number, style in numbers))
    console.print(table)
    if report.interrupted:
        console.print(Text("interrupted: this is what had been done", style="magenta"))
    if report.fault is not None:
        console.print(Text(f"the bench ended the run: {report.fault}", style="magenta"), soft_wrap=True)
    if exit_code(report) == EXIT_USAGE:
        console.print(Text("nothing was compared: every program was skipped", style="magenta"))


def to_json(report: Report, target: str, facts: Facts | None) -> dict[str, Any]:
    """The report as plain data. Output that is not UTF-8 is shown with escapes."""
    return {
        "target": target,
        "facts": None if facts is None else vars(facts),
        "exit_code": exit_code(report),
        "interrupted": report.interrupted,
        "fault": None if report.fault is None else str(report.fault),
        "counts": {outcome.value: report.count(outcome) for outcome in Outcome} | {"not_run": report.not_run},
        "results": [_result_to_json(result) for result in report.results],
    }


def _result_to_json(result: Result) -> dict[str, Any]:
    plain_data: dict[str, Any] = {
        "name": result.name,
        "outcome": result.outcome.value,
        "reason": result.reason,
        "seconds": round(result.seconds, 6),
    }
    if result.difference is not None:
        plain_data["difference"] = {
            "line": result.difference.line,
            "expected": _text(result.difference.expected),
            "came": _text(result.difference.came),
        }
    return plain_data


def _text(line: bytes | None) -> str | None:
    return None if line is None else line[:1000].decode("utf-8", "backslashreplace")
