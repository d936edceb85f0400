"""What a VM of MicroPython's family tells of itself and its files. Nothing is written; ``main.py`` is interrupted."""

from __future__ import annotations

import binascii
import re

from harness.errors import BenchFault, FirmwareFailure, HarnessError
from harness.link.session import Session
from harness.runtimes.looked import FILES_SHOWN, START_FILE_LIMIT, Look
from harness.runtimes.micropython.ask_abilities import ask_abilities
from harness.runtimes.micropython.ask_who import chip_names
from harness.runtimes.micropython.micropython_board import MicroPythonBoard
from harness.runtimes.pieces import parts_of
from harness.runtimes.traits import Means

# Names as hex: they can hold anything. A folder has the type 0x4000 in os.stat (MicroPython documentation, "os").
_LIST = """
import os
def _try(call):
    try:
        return call()
    except Exception:
        return None
_at = _try(lambda: os.getcwd()) or ""
def _hex(text):
    return "".join(["%02x" % byte for byte in text.encode()])
def _size(name):
    stat = os.stat(_at.rstrip("/") + "/" + name if _at else name)
    return -1 if stat[0] & 0x4000 else stat[6]
def _list():
    names = sorted(os.listdir())
    for name in [n for i, n in enumerate(names) if i < FILES or n in STARTS]:
        size = _try(lambda: _size(name))
        print("\\x06file %s %d" % (_hex(name), -1 if size is None else size))
    room = _try(lambda: os.statvfs(_at or "/")) or (0, 0, 0, 0)
    print("\\x06room %d %d %d %s-" % (len(names), room[1] * room[2], (room[1] or room[0]) * room[3], _hex(_at)))
try:
    _list()
finally:
    del _list, _size, _hex, _at, _try
""".replace("FILES", str(FILES_SHOWN))
_FILE = re.compile(rb"\x06file ((?:[0-9a-f]{2}){1,255}) (-?\d{1,10})\r?\n")
_ROOM = re.compile(rb"\x06room (\d{1,6}) (\d{1,15}) (\d{1,15}) ((?:[0-9a-f]{2}){0,100})-\r?\n")
_FLOAT = "print('float', 1.5 * 2)"
#: A name that a restart of the VM forgets.
_MARK, _MARKED = "hx_mark = 1", "print('hx_mark', 'hx_mark' in globals())"


def look(session: Session, means: Means, start_files: tuple[str, ...]) -> Look:
    """See :class:`harness.runtimes.looked.Looker`; for CircuitPython as well, whose REPL is the same."""
    board = MicroPythonBoard(session, reset=means.reset, buffer=means.buffer, nonces=means.nonces)
    try:
        board.enter()
        resets = _resets(board) if means.reset else None
        facts = board.facts
        abilities = ask_abilities(board.run, lambda source: parts_of(source, facts), writes=False)
        files, count, size, free, folder = _files(board, start_files)
        starts = {name: _text(board, folder, name, size) for name, size in files if name in start_files}
        return Look(
            version=facts.version,
            machine=facts.machine,
            heap=facts.heap_total,
            word_size=facts.word_size,
            names=chip_names(board),
            modules=abilities.modules,
            floats=b"float 3.0" in board.run(_FLOAT).stdout,
            ctrl_c=abilities.ctrl_c,
            paste_window=board.paste_window,
            mounts=abilities.mounts,
            folder=folder,
            files=files,
            more_files=max(0, count - len(files)),
            filesystem_size=size or None,
            filesystem_free=free if size else None,
            start_files=starts,
            rom_size=abilities.rom_size,
            resets=resets,
        )
    finally:
        session.write(b"\x02")  # the prompt that a person expects


def _resets(board: MicroPythonBoard) -> bool:
    """Whether a pulse on the reset lines makes the VM forget a name."""
    board.run(_MARK)
    try:
        board.hard_reset()
    except (BenchFault, FirmwareFailure):
        board.enter()
    return b"hx_mark False" in board.run(_MARKED).stdout


def _files(
    board: MicroPythonBoard, start_files: tuple[str, ...]
) -> tuple[tuple[tuple[str, int], ...], int, int, int, str]:
    """Files, how many there are in all, size and free room of their filesystem, and the folder that they are in."""
    question = _LIST.replace("STARTS", repr(start_files))
    result = b"".join(board.run(part).stdout for part in parts_of(question, board.facts))
    room = _ROOM.search(result)
    if room is None:  # no os, or no filesystem
        return (), 0, 0, 0, ""
    files = tuple((_named(name), int(size)) for name, size in _FILE.findall(result))
    return files, int(room[1]), int(room[2]), int(room[3]), _named(room[4])


def _named(digits: bytes) -> str:
    return binascii.unhexlify(digits).decode("utf-8", "replace")


def _text(board: MicroPythonBoard, folder: str, name: str, size: int) -> bytes:
    """A start file; empty when it cannot be read, or is so long that it does something whatever it holds."""
    if size > START_FILE_LIMIT:
        return b""
    try:
        return board.get(f"{folder.rstrip('/')}/{name}")[:START_FILE_LIMIT]
    except HarnessError:
        return b""
