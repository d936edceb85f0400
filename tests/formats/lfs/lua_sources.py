"""The Lua sources that the tests build images of, and the host's Lua to run them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lupa import lua51

FILES = sorted((Path(__file__).parent / "sources").glob("*.lua"))
APP = sorted((Path(__file__).parents[3] / "fixtures" / "lua" / "app").glob("*.lua"))

# The values that a chunk returns, in words: what the source and the module taken from an image must agree on.
_RUN = b"""
local chunk, name = ...
local f = assert(loadstring(chunk, name))
local function words(ok, ...)
  local t = { tostring(ok) }
  for i = 1, select("#", ...) do
    local v = select(i, ...)
    local kind = type(v)
    t[#t + 1] = kind .. ":" .. ((kind == "table" or kind == "function") and "" or tostring(v))
  end
  return table.concat(t, "\\n")
end
return words(pcall(f))
"""


def run(chunk: bytes, name: bytes) -> bytes:
    """What the host's Lua 5.1 returns for a source or a chunk."""
    lua: Any = lua51.LuaRuntime(encoding=None, register_eval=False, register_builtins=False)
    result: bytes = lua.execute(_RUN, chunk, name)
    return result
