"""Asking one port what stands behind it: which VM, which chip, which MAC or unique id.

This touches the board: the program it runs is interrupted, and an ESP chip is reset (its ROM alone knows the MAC).
Nothing is written, neither to its flash nor to its files. Only ports that the user named are asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from harness.bench.who_answers import family_of
from harness.chips import CHIPS
from harness.errors import BenchFault, HarnessError
from harness.extensions import resolve
from harness.flashing.esp import identify
from harness.flashing.flasher import ChipIdentity, Progress, silent
from harness.link.panics import printable
from harness.link.ports import PTY_BUFFER, OpenPort, is_pty, no_reset_lines, open_port, set_lines
from harness.link.session import Session
from harness.link.transcript import Transcript
from harness.power.reset import SEQUENCES, CustomReset, stm32_sequence
from harness.runtimes.looked import Look, Looker
from harness.runtimes.traits import Means, Probe, ProbeAnswer, all_traits, traits_of_vm

#: Seconds that a VM may take to answer before the boot loader is asked instead.
_PATIENCE = 4.0
#: How long a board without a VM is listened to after a reset, in seconds, and how much of that is kept, in bytes.
_LISTEN, _HEARD = 2.5, 2000


@dataclass(frozen=True)
class Answer:
    """What answered at ``port``. Empty: not known. ``problems`` say why something is not.

    The rest is there after a closer look alone: ``esp`` is what the boot loader of an ESP said, ``look`` what the VM
    told, ``heard`` what a board without one prints when it starts, ``no_lines`` why the port has no DTR and RTS.
    """

    port: str
    runtime: str = ""
    version: str = ""
    machine: str = ""
    chip: str = ""
    mac: str = ""
    uid: str = ""
    problems: tuple[str, ...] = ()
    esp: ChipIdentity | None = None
    look: Look | None = None
    heard: str = ""
    no_lines: str = ""


def probe(address: str, *, baud: int = 115200, closely: bool = False, progress: Progress = silent) -> Answer:
    """Ask whatever is at ``address`` (a device or a pyserial URL) what it is; ``closely``: also what it holds.

    Raises BenchFault when the port cannot be opened; a board that does not answer is in ``problems``.
    """
    port = open_port(address, baud=baud)
    problems: list[str] = []
    chip, mac, uid, heard = "", "", "", ""
    esp: ChipIdentity | None = None
    look: Look | None = None
    no_lines = no_reset_lines(port)
    try:
        session = Session(port, Transcript())
        progress("asking for a VM", 0, 0)
        vm = _vm_at(session, problems) or ProbeAnswer("")
        session.forget_input()
        chip, uid = chip_named_in(vm.machine), vm.uid
        if closely and vm.runtime:
            progress("looking at what the VM holds", 0, 0)
            look = _looked(session, vm.runtime, _reset_to_try(port, chip, no_lines), problems)
            session.forget_input()
        family = CHIPS[chip].family if chip else family_of(look.names.platform) if look else ""
        if not family or family.startswith("esp"):
            try:
                esp = identify(port, connect_attempts=2, console_baud=baud, progress=progress)
                chip, mac, uid = esp.chip, esp.mac, ""
            except BenchFault as problem:
                problems.append(f"no ESP boot loader: {problem.message}")
        if closely and not vm.runtime and port.is_open:
            progress("listening", 0, 0)
            heard = _heard(port)
    finally:
        port.close()
    return Answer(
        address, vm.runtime, vm.version, vm.machine, chip, mac, uid, tuple(problems), esp, look, heard, no_lines
    )


def _reset_to_try(port: OpenPort, chip: str, no_lines: str) -> Callable[[], None] | None:
    """What may reset the chip over the port's lines. An ESP's boot loader proves its lines by itself."""
    family = CHIPS[chip].family if chip else ""
    if no_lines or family.startswith("esp"):
        return None
    sequence = CustomReset(stm32_sequence(boot0=False) if family == "stm32" else SEQUENCES["dtr-rts"])
    if family == "stm32":
        set_lines(port, dtr=False, rts=True)  # BOOT0 low, where it is wired so
    return lambda: sequence(port)


def _looked(session: Session, runtime: str, reset: Callable[[], None] | None, problems: list[str]) -> Look | None:
    traits = traits_of_vm(runtime)
    if traits is None or not traits.look:
        return None
    ask: Looker = resolve(traits.look)
    buffer = PTY_BUFFER if is_pty(session.port) else None
    try:
        return ask(session, Means(reset=reset, buffer=buffer), traits.start_files)
    except HarnessError as problem:
        problems.append(f"it did not tell what it holds: {problem.message}")
        return None


def _heard(port: OpenPort) -> str:
    """What the board prints by itself, which :func:`identify` has just started."""
    read = Session(port, Transcript()).read_until(idle=_LISTEN, deadline=_LISTEN, watch_panics=False, limit=_HEARD)
    return printable(read.data[:_HEARD], _HEARD)


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
