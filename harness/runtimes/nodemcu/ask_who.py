"""Which chip NodeMCU runs on (NodeMCU documentation, "node": ``node.chipid()``)."""

from __future__ import annotations

import re

from harness.errors import BenchFault
from harness.runtimes.interface import BoardRuntime
from harness.runtimes.who import ChipNames

# A number on the ESP8266, a text of hex digits on the ESP32 branch; twice, so that damage is seen.
_PROGRAM = """
local id = node.chipid and node.chipid() or ""
if type(id) == "number" then id = string.format("%06x", id) end
print("\\2" .. tostring(id) .. "|" .. tostring(id) .. "\\3")
"""
_ANSWER = re.compile(rb"\x02([^|]{0,40})\|([^|\x03]{0,40})\x03")


def chip_names(runtime: BoardRuntime) -> ChipNames:
    """Ask ``runtime``. Raises BenchFault for an answer that arrives damaged."""
    result = runtime.run(_PROGRAM)
    answer = _ANSWER.search(result.stdout)
    if answer is None and result.stderr:
        return ChipNames(machine=runtime.facts.machine)
    if answer is None or answer[1] != answer[2] or not re.fullmatch(rb"(?:0x)?[0-9a-fA-F]*", answer[1]):
        raise BenchFault("the number of the board's chip arrived damaged", hint="check the cable and the baud rate")
    digits = answer[1].decode("ascii").lower().removeprefix("0x")
    if len(digits) == 6:  # the last three bytes of the MAC address
        return ChipNames("esp8266", runtime.facts.machine, digits, digits)
    return ChipNames(machine=runtime.facts.machine, unique=digits if len(digits) == 12 else "")
