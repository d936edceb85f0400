"""What Lua's objects take on NodeMCU, against the structures of its Lua. No reference is the measure of it."""

from __future__ import annotations

import pytest

from harness.formats.lfs.target_layout import lua_closure, string, table, thread, upvalue
from harness.judging.scenario import Scenario
from harness.runtimes.program import Program

pytestmark = pytest.mark.runtime("nodemcu")

STRUCTURES = "the structures of NodeMCU's Lua 5.1 on 32 bits (app/lua/lobject.h, lstate.h)"


def test_lua_objects_take_what_their_structures_say(scenario: Scenario) -> None:
    """Tables, strings, closures, a thread: bytes by Lua's own count, in which the allocator has no part."""
    if scenario.board.facts.extra.get("numbers") == "integer":
        pytest.skip("integer firmware counts its memory in whole kilobytes")
    pair = scenario.run(Program.load_lua("lua_objects"))
    asked = {
        "table": table(),
        "array.3": table(array=3),
        "array.16": table(array=16),
        "record.1": table(nodes=1),
        "record.3": table(nodes=4),
        "record.5": table(nodes=8),
        "both": table(array=2, nodes=1),
        "string.2": string(2),
        "string.20": string(20),
        "string.200": string(200),
        "closure.1": lua_closure(1),  # `kept` is its upvalue, which it shares
        "counter": lua_closure(1) + upvalue(),
        "thread": thread(),
        "grown.17": table(array=32),
    }
    scenario.compare(pair, prefix="lua.", asked=asked, source=STRUCTURES)
