"""Run the benchmarks named on the command line, or all, and print a table (``--json FILE`` for programs).

``name=NUMBER`` where a benchmark takes a number (``lives=500``)."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table


def main(arguments: list[str]) -> None:
    target = ""
    if "--json" in arguments:
        at = arguments.index("--json")
        target = arguments[at + 1]
        del arguments[at : at + 2]
    here = Path(__file__).parent
    names = arguments or sorted(p.stem for p in here.glob("*.py") if not p.stem.startswith("_"))
    console = Console()
    results: dict[str, dict[str, float]] = {}
    for name in names:
        console.print(f"[dim]{name} …[/dim]")
        name, _, count = name.partition("=")
        measure = importlib.import_module(f"benchmarks.{name}").main
        results[name] = measure(int(count)) if count else measure()
        table = Table(box=None, padding=(0, 2), show_header=False)
        for label, value in results[name].items():
            table.add_row(label, f"{value:.4g}")
        console.print(table)
    if target:
        Path(target).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
