"""The application that somebody left on a board, set aside for a run and put back after it.

What a VM runs by itself (``main.py``, ``code.py``, ``init.lua``) is renamed beside itself. The name that it has then is
the only note of that, and lies on the board: whoever takes the board next, on whatever computer, puts it back, even
when the run that set it aside was killed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from harness.errors import Refused
from harness.link.panics import printable
from harness.runtimes.abilities import ASIDE
from harness.runtimes.interface import BoardRuntime
from harness.runtimes.traits import Language

#: Renames what is there to what is not; prints what became of each pair of names.
_PYTHON = """
def _m(pairs):
    try:
        import os
    except ImportError:
        return
    here = os.listdir()  # os.stat is not in every VM
    for old, new in pairs:
        if old in here:
            if new in here:
                print("\\x06both", old)
            else:
                os.rename(old, new)
                print("\\x06moved", old)
try:
    _m(PAIRS)
finally:
    del _m
"""
_LUA = """
for _, p in ipairs(PAIRS) do
  if file.exists(p[1]) then
    if file.exists(p[2]) then print("\\6both " .. p[1])
    else print("\\6" .. (file.rename(p[1], p[2]) and "moved " or "kept ") .. p[1]) end
  end
end
"""
_SAID = re.compile(rb"\x06(moved|both|kept) ([A-Za-z0-9_.]{1,40})\r?\n")


class LeftApplication:
    """Of one board. ``names`` are the files that its VM runs by itself; ``happened`` hears of what was done."""

    def __init__(
        self, board: str, language: Language, names: Sequence[str], happened: Callable[[str, str], None]
    ) -> None:
        self._board = board
        self._language = language
        self._names = tuple(names)
        self._happened = happened

    def set_aside(self, runtime: BoardRuntime) -> bool:
        """Whether something was moved, or is aside from a run before. Raises Refused when it cannot be moved."""
        moved, both = self._rename(runtime, [(name, ASIDE + name) for name in self._names])
        if both:
            raise Refused(
                f"{self._board}: {', '.join(both)} cannot be set aside: {ASIDE}{both[0]} of an earlier run is there",
                hint="look at both files on the board, and keep the one that is wanted",
            )
        if moved:
            self._happened("application", f"set aside: {', '.join(moved)}")
        return bool(moved)

    def put_back(self, runtime: BoardRuntime) -> bool:
        """Whether something was aside and is back. A file that somebody wrote in its place meanwhile is left there."""
        moved, both = self._rename(runtime, [(ASIDE + name, name) for name in self._names])
        if moved:
            self._happened("application", f"put back: {', '.join(name.removeprefix(ASIDE) for name in moved)}")
        for name in both:
            self._happened("application", f"{name} stays: there is a new {name.removeprefix(ASIDE)} in its place")
        return bool(moved)

    def _rename(self, runtime: BoardRuntime, pairs: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
        if not pairs:
            return [], []
        if self._language == "lua":
            table = "{" + ", ".join(f'{{"{old}", "{new}"}}' for old, new in pairs) + "}"
            result = runtime.run(_LUA.replace("PAIRS", table))
        else:
            result = runtime.run(_PYTHON.replace("PAIRS", repr(pairs)))
        said = [(word.decode(), name.decode()) for word, name in _SAID.findall(result.stdout)]
        if result.stderr or any(word == "kept" for word, _ in said):
            raise Refused(
                f"{self._board}: its start files cannot be renamed: {printable(result.stderr[-200:]) or 'refused'}",
                hint="is the board's filesystem read-only, because this computer has it as a drive?",
            )
        return [name for word, name in said if word == "moved"], [name for word, name in said if word == "both"]
