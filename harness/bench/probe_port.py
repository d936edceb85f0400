"""Asking one port what stands behind it: which VM, which chip, which MAC or unique id.

This touches the board: the program it runs is interrupted, and an ESP chip is reset (its ROM alone knows the MAC).
Only ports that the user named are asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.chips import CHIPS
from harness.errors import BenchFault, HarnessError
from harness.extensions import resolve
from harness.flashing.esp import identify
from harness.link.ports import open_port
from harness.link.session import Session
from harness.link.transcript import Transcript
from harness.runtimes.traits import Probe, ProbeAnswer, all_traits

#: Seconds that a VM may take to answer before the boot loader is asked instead.
_PATIENCE = 4.0


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
    chip = mac = ""
    try:
        session = Session(port, Transcript())
        vm = _vm_at(session, problems) or ProbeAnswer("")
        session.forget_input()
        chip, uid = chip_named_in(vm.machine), vm.uid
        if not chip or CHIPS[chip].family != "stm32":
            try:
                identity = identify(port, connect_attempts=2, console_baud=baud)
                chip, mac, uid = identity.chip, identity.mac, ""
            except BenchFault as problem:
                problems.append(f"no ESP boot loader: {problem.message}")
    finally:
        port.close()
    return Answer(address, vm.runtime, vm.version, vm.machine, chip, mac, uid, tuple(problems))


def _vm_at(session: Session, problems: list[str]) -> ProbeAnswer | None:
    """What the first runtime that is answered learns; None, with what came instead in ``problems``."""
    said: list[str] = []
    for traits in all_traits():
        if not traits.probe:
            continue
        ask: Probe = resolve(traits.probe)
        try:
            answer = ask(session, _PATIENCE)
        except HarnessError as problem:
            said.append(f"no VM: {problem.message}")
        else:
            if answer is not None:
                return answer
    problems += said
    return None


def chip_named_in(machine: str) -> str:
    """The chip of the list that a VM's ``sys.implementation._machine`` ends with; empty when it is none.

    MicroPython gives "board with CHIP" (py/modsys.c), and STM32 parts by their full name: STM32F405RG.
    """
    name = re.sub(r"[^a-z0-9]", "", machine.rpartition(" with ")[2].lower())
    return max((chip for chip in CHIPS if name.startswith(chip)), key=len, default="")
