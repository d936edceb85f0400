"""What a board is doing while it is made ready: a bar on a terminal, a line for each step elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text


@contextmanager
def steps(console: Console, board: str) -> Iterator[Callable[[str, int, int], None]]:
    """Gives what :func:`harness.bench.attach.attach` reports to: step, done, total (0: unknown)."""
    if not console.is_terminal:
        last = ""

        def line(step: str, _done: int, _total: int) -> None:
            nonlocal last
            if step != last:
                last = step
                console.print(Text(f"{board}: {step}"), soft_wrap=True)

        yield line
        return
    columns = (TextColumn("{task.fields[board]}"), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", board=board, total=None)
        yield lambda step, done, total: progress.update(task, description=step, completed=done, total=total or None)
