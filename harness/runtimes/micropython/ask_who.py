"""Which chip a VM of MicroPython's family runs on: its number, and its names from the facts."""

from __future__ import annotations

import re
from dataclasses import replace

from harness.errors import BenchFault
from harness.runtimes.interface import BoardRuntime
from harness.runtimes.who import ChipNames

# Twice, so that damage on the line is seen: not every VM can compute a CRC.
_PROGRAM = """
def _who():
    try:
        from machine import unique_id
        return unique_id()
    except Exception:
        pass
    try:
        import microcontroller
        return microcontroller.cpu.uid
    except Exception:
        pass
    try:
        import network
        return network.WLAN(0).config("mac")
    except Exception:
        return b""
_who = "".join(["%02x" % byte for byte in _who()])
print("\\x02" + _who + "|" + _who + "\\x03")
del _who
"""
# The running partition and, of the description at the start of its application, the hash of its ELF file
# (MicroPython documentation, "esp32": Partition; ESP-IDF Programming Guide, "App Image Format").
_SLOT = """
def _who():
    from esp32 import Partition
    part = Partition(Partition.RUNNING)
    data = bytearray(32)
    part.readblocks(0, data, 176)
    info = part.info()
    return "%s at 0x%x" % (info[4], info[2]), "".join(["%02x" % byte for byte in data])
try:
    _who = "%s|%s" % _who()
except Exception:
    _who = "|"
print("\\x02" + _who + "|" + _who + "\\x03")
del _who
"""
_SLOT_ANSWER = re.compile(rb"\x02([\x20-\x7b]{0,60})\|([0-9a-f]{0,64})\|([^|]{0,60})\|([^|\x03]{0,64})\x03")
_ANSWER = re.compile(rb"\x02([^|]{0,64})\|([^|\x03]{0,64})\x03")
_LIMIT = 32


def chip_names(runtime: BoardRuntime) -> ChipNames:
    """Ask ``runtime``. Raises BenchFault for an answer that arrives damaged."""
    facts = runtime.facts
    result = runtime.run(_PROGRAM)
    answer = _ANSWER.search(result.stdout)
    if answer is None and result.stderr:
        return ChipNames(facts.extra.get("platform", ""), facts.machine)
    if answer is None or answer[1] != answer[2] or not re.fullmatch(rb"(?:[0-9a-f]{2})*", answer[1]):
        raise BenchFault("the number of the board's chip arrived damaged", hint="check the cable and the baud rate")
    unique = answer[1].decode("ascii")[: 2 * _LIMIT]
    if facts.extra.get("platform") == "esp8266" and len(unique) == 8:
        # system_get_chip_id() as a little-endian word: the last three bytes of the MAC address, reversed
        # (MicroPython, ports/esp8266/modmachine.c; esptool, ESP8266ROM.chip_id).
        tail = bytes.fromhex(unique)[2::-1].hex()
        return ChipNames("esp8266", facts.machine, unique, tail)
    names = ChipNames(facts.extra.get("platform", ""), facts.machine, unique)
    return _with_slot(names, runtime) if names.platform == "esp32" else names


def _with_slot(names: ChipNames, runtime: BoardRuntime) -> ChipNames:
    answer = _SLOT_ANSWER.search(runtime.run(_SLOT).stdout)
    if answer is None or answer.groups()[:2] != answer.groups()[2:]:
        raise BenchFault("the name of the running partition arrived damaged", hint="check the cable and the baud rate")
    digest = answer[2].decode("ascii")
    if len(digest) != 64 or not digest.strip("0"):
        return names
    return replace(names, slot=answer[1].decode("ascii"), elf_sha256=digest)
