"""How findings about a machine or a board are printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.bench.finding import Finding


def print_parts(console: Console, *parts: Any) -> None:
    console.print(Text.assemble(*parts), soft_wrap=True)


def print_findings(console: Console, findings: Sequence[Finding]) -> None:
    styles = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "bold red"}
    for finding in findings:
        print_parts(console, (f"{finding.severity:8}", styles[finding.severity]), f"{finding.check}: {finding.what}")
        if finding.fix:
            print_parts(console, " " * 10, (finding.fix, "dim"))
