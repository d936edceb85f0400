"""Draw docs/run.svg from the newest run in the results store: ``python docs/make_picture.py``."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from rich.console import Console

from harness.results.report.terminal import print_run
from harness.results.store import Store

here = Path(__file__).parent
store = Store(here.parent / ".harness" / "results.sqlite")
console = Console(record=True, width=112, file=StringIO(), force_terminal=True, highlight=False)
print_run(store.load_run(store.runs(1)[0]), console)
console.save_svg(str(here / "run.svg"), title="harness run")
