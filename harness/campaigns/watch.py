"""``harness watch BOARD``: its console with times, over resets, sleeps and a port that goes and comes."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import serial
from rich.console import Console
from rich.text import Text

from harness.bench.board_port import BoardPort, console_opener
from harness.bench.device_of import device_of
from harness.campaigns.console_lines import Line, Lines
from harness.errors import BenchFault, FinalFault, PortBusy, UsageError
from harness.inventory.load import load_bench
from harness.inventory.locks import board_lock
from harness.inventory.model import Board
from harness.inventory.selection import bench_file
from harness.link.ports import OpenPort
from harness.paths import state_dir, unwritable
from harness.results.report.terminal import terminal

_STYLES = {"reset": "bold cyan", "panic": "bold red", "text": ""}
#: An unfinished line is shown after this many seconds without more of it.
_IDLE = 0.3
#: A silence of this many seconds and more is told.
_SILENCE = 1.0


def watch(board_id: str, bench: str, seconds: float | None, log_file: str) -> None:
    """Show what BOARD prints, each line with its time, until Ctrl-C. Nothing is sent, nothing is reset.

    It goes on when the port vanishes and comes back (native USB at a reset or in deep sleep). The board is locked
    meanwhile, as in a run.
    """
    file = bench_file(bench)
    board = load_bench(file, check_files=False).board(board_id)
    if board is None:
        raise UsageError(f"there is no board {board_id!r} in {file}")
    state = state_dir(file)
    console = terminal()
    log = _log(log_file)
    try:
        with board_lock(board, state, purpose="harness watch", timeout=5.0):
            device = device_of(board, state)
            try:
                device.start(lambda *_: None)
                _watch(board, BoardPort(board, device.find, console_opener(board)), console, log, seconds)
            finally:
                device.close()
    except KeyboardInterrupt:
        console.print(Text("the watch has ended", style="dim"))
    finally:
        if log is not None:
            log.close()


def _log(name: str) -> IO[str] | None:
    try:
        return Path(name).open("a", encoding="utf-8") if name else None
    except OSError as problem:
        raise unwritable(name, problem) from None


def _watch(
    board: Board, where: BoardPort[OpenPort], console: Console, log: IO[str] | None, seconds: float | None
) -> None:
    began = time.monotonic()
    last = 0.0

    def show(line: Line) -> None:
        nonlocal last
        if line.at - last >= _SILENCE and last:
            console.print(Text(f"{'':10}  … {line.at - last:.1f} s of silence", style="dim"))
        last = line.at
        console.print(Text.assemble((f"{line.at:10.3f}  ", "dim"), (line.text, _STYLES[line.kind])), soft_wrap=True)
        if log is not None:
            moment = datetime.now().astimezone().isoformat(timespec="milliseconds")
            log.write(f"{moment} {line.text}\n")
            log.flush()

    def tell(text: str) -> None:
        console.print(Text(f"{time.monotonic() - began:10.3f}  {text}", style="yellow"), soft_wrap=True)

    port = where.wait(10.0)
    tell(f"{board.id} at {where.address}")
    lines = Lines()
    while seconds is None or time.monotonic() - began < seconds:
        if not _listen(port, lines, began, show, seconds):
            for line in lines.flush():
                show(line)
            tell("the port is gone; waiting for it to come back")
            port.close()
            again = _back(where, began, seconds)
            if again is None:
                return
            port = again
            tell(f"back at {where.address}")
    for line in lines.flush():
        show(line)
    port.close()


def _listen(port: Any, lines: Lines, began: float, show: Callable[[Line], None], seconds: float | None) -> bool:
    """Show what comes, until the time is over (True) or the port is gone (False)."""
    heard = time.monotonic()
    while seconds is None or time.monotonic() - began < seconds:
        try:
            port.timeout = 0.1
            data = port.read(max(1, min(4096, port.in_waiting)))
        except (serial.SerialException, OSError):
            return False
        now = time.monotonic()
        if data:
            heard = now
            for line in lines.feed(data, now - began):
                show(line)
        elif now - heard > _IDLE:
            for line in lines.flush():
                show(line)
    return True


def _back(where: BoardPort[OpenPort], began: float, seconds: float | None) -> OpenPort | None:
    while seconds is None or time.monotonic() - began < seconds:
        try:
            return where.wait(1.0)
        except BenchFault as problem:
            if isinstance(problem, FinalFault) and not isinstance(problem, PortBusy):
                raise  # it is not ours any more
    return None
