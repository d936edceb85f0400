"""What a NodeMCU board tells of itself and its files, line by line: a program would be a file on it.

NodeMCU documentation, "node" (``node.info``) and "file" (``file.list``, ``file.fsinfo``).
"""

from __future__ import annotations

import binascii
import re

from harness.errors import FirmwareFailure
from harness.link.session import Session
from harness.runtimes.looked import FILES_SHOWN, Look
from harness.runtimes.nodemcu.nodemcu_board import NodeMcuBoard
from harness.runtimes.traits import Means
from harness.runtimes.who import ChipNames

_VERSION = (
    'do local i=node.info("sw_version") local a,b,c=node.info() '
    'print("\\6v "..(type(i)=="table" and tostring(i.git_release or i.node_version_major) or a.."."..b.."."..c)) end'
)
_BUILD = (
    'do local c,l=node.info("build_config"),node.info("lfs") if type(c)=="table" then '
    'print("\\6b "..tostring(l.lfs_size or c.lfs_size or 0).." "..tostring(c.modules)) end end'
)
_CHIP = 'print("\\6c "..(type(node.chipid())=="number" and ("%06x"):format(node.chipid()) or node.chipid()))'
_HEAP = 'collectgarbage() print("\\6h "..node.heap().." "..tostring(1/2==0.5))'
_HEX = 'function(c) return ("%02x"):format(c:byte()) end'
_LIST = f'for n,s in pairs(file.list()) do print("\\6f "..n:gsub(".",{_HEX})..":"..s) end'
_ROOM = 'do local f,u,t=file.fsinfo() print("\\6r "..t.." "..f) end'
_READ = f'do local f=file.open("NAME") local s=f:read(SIZE) f:close() print("\\6t "..(s or ""):gsub(".",{_HEX})) end'
#: Bytes of a start file that are read at most: enough to see that it does something.
_PEEK = 256


def look(session: Session, means: Means, start_files: tuple[str, ...]) -> Look:
    """See :class:`harness.runtimes.looked.Looker`. What it cannot be asked is left out."""
    board = NodeMcuBoard(session, nonces=means.nonces)
    board.enter()
    version = _told(board, _VERSION, rb"\x06v ([\w.+-]{1,60})")
    build = _told(board, _BUILD, rb"\x06b (\d{1,10}) ([\w,|]{1,400})")
    chip = _told(board, _CHIP, rb"\x06c (?:0x)?([0-9A-Fa-f]{1,12})\b")
    heap = _told(board, _HEAP, rb"\x06h (\d{1,10}) (true|false)")
    room = _told(board, _ROOM, rb"\x06r (\d{1,10}) (\d{1,10})")
    found = sorted(_files(board))
    shown = [file for n, file in enumerate(found) if n < FILES_SHOWN or file[0] in start_files]
    starts = {}
    for name, _ in found:
        if name in start_files:
            text = _told(board, _READ.replace("NAME", name).replace("SIZE", str(_PEEK)), rb"\x06t ((?:[0-9a-f]{2})*)")
            starts[name] = binascii.unhexlify(text[0]) if text else b""
    number = chip[0].decode().lower() if chip else ""
    tail = number if len(number) == 6 else ""
    return Look(
        version=f"NodeMCU {version[0].decode()}" if version else "",
        heap=int(heap[0]) if heap else 0,
        word_size=4,
        names=ChipNames("esp8266" if tail else "", unique=number, tail=tail),
        modules=tuple(sorted(build[1].decode().split(","))) if build else (),
        floats=bool(heap) and heap[1] == b"true",
        ctrl_c=False,
        folder="/" if room else "",
        files=tuple(shown),
        more_files=len(found) - len(shown),
        filesystem_size=int(room[0]) if room else None,
        filesystem_free=int(room[1]) if room else None,
        start_files=starts,
        lfs=int(build[0]) if build else 0,
    )


def _told(board: NodeMcuBoard, line: str, wanted: bytes) -> tuple[bytes, ...]:
    """The groups of ``wanted`` in what the line prints; empty when the board does not know the question."""
    try:
        match = re.search(wanted, board.say_line(line))
    except FirmwareFailure:
        return ()
    return match.groups() if match else ()


def _files(board: NodeMcuBoard) -> list[tuple[str, int]]:
    try:
        said = board.say_line(_LIST)
    except FirmwareFailure:
        return []
    return [
        (binascii.unhexlify(name).decode("utf-8", "replace"), int(size))
        for name, size in re.findall(rb"\x06f ((?:[0-9a-f]{2}){1,31}):(\d{1,10})\r?\n", said)
    ]
