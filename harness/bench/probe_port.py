"""Asking one port what stands behind it: which VM, which chip, which MAC or unique id.

This touches the board: the program it runs is interrupted, and an ESP chip is reset (its ROM alone knows the MAC).
Only ports that the user named are asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from harness.chips import CHIPS
from harness.errors import BenchFault, HarnessError
from harness.flashing.esp import identify
from harness.link.ports import open_port
from harness.link.session import Port, Session
from harness.link.transcript import Transcript
from harness.runtimes.base import Facts
from harness.runtimes.micropython import MicroPythonBoard

#: Seconds that a VM may take to answer before the boot loader is asked instead.
_PATIENCE = 4.0
_UNIQUE_ID = "import machine\nprint('id', ''.join('%02x' % b for b in machine.unique_id()))"
#: NodeMCU's console answers each line. The sum makes the answer differ from its echo.
_LUA = b'print("vm".."-lua", node.chipid(), _VERSION)\r\n'
_LUA_ANSWER = re.compile(rb"vm-lua\s+(\w{1,20})\s+(Lua [\w. ]{1,20})")


@dataclass(frozen=True)
class Answer:
    """What answered at ``port``. Empty: not known. ``problems`` say why something is not."""

    port: str
    runtime: str = ""
    version: str = ""
    machine: str = ""
    chip: str = ""
    mac: str = ""
    uid: str = ""
    problems: tuple[str, ...] = ()


def probe(address: str, *, baud: int = 115200) -> Answer:
    """Ask whatever is at ``address`` (a device or a pyserial URL) what it is.

    Raises BenchFault when the port cannot be opened; a board that does not answer is in ``problems``.
    """
    port = open_port(address, baud=baud)
    problems: list[str] = []
    facts: Facts | None = None
    runtime = version = chip = mac = uid = ""
    try:
        session = Session(cast(Port, port), Transcript())
        try:
            board = MicroPythonBoard(session, boot_timeout=_PATIENCE)
            board.enter()
            facts = board.facts
            runtime, version = facts.name, facts.version
            uid = _unique_id(board)
            session.write(b"\x02")  # back to the prompt that a person expects
        except HarnessError as problem:
            session.write(b"\x02\r\n")
            runtime, version = _lua(session)
            if not runtime:
                problems.append(f"no VM: {problem.message}")
        finally:
            session.forget_input()
        chip = chip_named_in(facts.machine) if facts is not None else ""
        if not chip or CHIPS[chip].family != "stm32":
            try:
                found = identify(port, connect_attempts=2, console_baud=baud)
                chip, mac, uid = found.chip, found.mac, ""
            except BenchFault as problem:
                problems.append(f"no ESP boot loader: {problem.message}")
    finally:
        port.close()
    return Answer(address, runtime, version, facts.machine if facts else "", chip, mac, uid, tuple(problems))


def chip_named_in(machine: str) -> str:
    """The chip of the list that a VM's ``sys.implementation._machine`` ends with; empty when it is none.

    MicroPython gives "board with CHIP" (py/modsys.c), and STM32 parts by their full name: STM32F405RG.
    """
    name = re.sub(r"[^a-z0-9]", "", machine.rpartition(" with ")[2].lower())
    return max((chip for chip in CHIPS if name.startswith(chip)), key=len, default="")


def _unique_id(board: MicroPythonBoard) -> str:
    found = re.search(rb"id ([0-9a-f]{8,32})\b", board.run(_UNIQUE_ID).stdout)
    return found.group(1).decode("ascii") if found else ""


def _lua(session: Session) -> tuple[str, str]:
    session.drain()
    session.write(_LUA)
    read = session.read_until(b"> ", idle=1.0, deadline=2.0)
    found = _LUA_ANSWER.search(read.data)
    return ("nodemcu", found.group(2).decode("ascii")) if found else ("", "")
