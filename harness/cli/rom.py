"""``harness rom list|push|pop``: modules that a board executes where they lie in its flash."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import CONTEXT, bench_option, board_named
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.bench.rom_stack import RomStack


@click.group("rom", context_settings=CONTEXT)
def rom() -> None:
    """Modules in a board's ROMFS segment, which its VM executes in place: a stack, the last one on top.

    Nothing else of the board is written; its VM is started anew after a change.
    """


@rom.command("list", context_settings=CONTEXT)
@click.argument("board")
@bench_option
def _list(board: str, bench: str) -> None:
    """What BOARD's segment holds, the lowest first."""
    with _stack(board, bench) as stack:
        _show(stack)


@rom.command("push", context_settings=CONTEXT)
@click.argument("board")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@bench_option
def _push(board: str, files: tuple[str, ...], bench: str) -> None:
    """Put each FILE (.py is compiled, .mpy taken as it is) on top of BOARD's modules."""
    from harness.formats.romfs import compile_module

    modules: dict[str, bytes] = {}
    for file in files:
        path = Path(file)
        if path.suffix not in (".py", ".mpy"):
            raise UsageError(f"{file} is no module: expected a name that ends in .py or .mpy")
        try:
            data = path.read_bytes()
        except OSError as problem:
            raise UsageError(f"{file} cannot be read: {problem.strerror}") from None
        name = f"{path.stem}.mpy"
        if name in modules:
            raise UsageError(f"{file}: a module of that name is among the others already")
        if not path.stem.isidentifier() or not path.stem.isascii():
            words = f"expected ASCII letters, digits and _ before {path.suffix}"
            raise UsageError(f"{file}: no import statement can name it: {words}")
        modules[name] = compile_module(path.name, data) if path.suffix == ".py" else data
    with _stack(board, bench) as stack:
        stack.push(modules)
        _show(stack)


@rom.command("pop", context_settings=CONTEXT)
@click.argument("board")
@bench_option
def _pop(board: str, bench: str) -> None:
    """Take the top one of BOARD's modules away."""
    with _stack(board, bench) as stack:
        stack.pop()
        _show(stack)


@contextmanager
def _stack(board: str, bench: str) -> Iterator[RomStack]:
    from harness.bench.attach import Options, attach
    from harness.bench.rom_stack import rom_stack

    chosen, state = board_named(board, bench)
    if chosen.runtime != "micropython":
        raise UsageError(f"board {board!r} has {chosen.runtime}; ROMFS is MicroPython's")
    attached = attach(chosen, Options(state, flash=None, purpose="harness rom"), lambda *_: None)
    try:
        with rom_stack(attached.runtime, attached.abilities) as stack:
            yield stack
    finally:
        attached.close()


def _show(stack: RomStack) -> None:
    from rich.text import Text

    from harness.shown import Terminal

    console = Terminal()
    names = stack.names()
    for number, name in enumerate(names, 1):
        top = "  on top" if number == len(names) else ""
        console.print(Text(f"{number:4}  {name}{top}"), soft_wrap=True)
    if not names:
        console.print(Text("the segment holds no module"))
