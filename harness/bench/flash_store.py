"""Whether the image in a NodeMCU board's Lua Flash Store is the one that it held, and fits its firmware.

An image is bound to a place, a size and a kind of numbers. The region begins behind the firmware's code unless its
build says otherwise, so that a firmware of another length has it elsewhere: the image stays where nobody looks
(NodeMCU documentation, "Lua Flash Store"; ``app/user/user_main.c`` ``first_time_setup``). The firmware checks signature
and address when it starts, and a program finds its modules gone (``app/lua/lflash.c`` ``luaN_init``).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from harness.formats.lfs.region import FoundImage
from harness.formats.lfs.signature import IN_PROGRESS, INTEGER, is_signature
from harness.runtimes.interface import LfsState

_SIGNATURE = "Flash sig not correct: "
_ADDRESS = "Flash size check failed"


@dataclass(frozen=True)
class KeptStore:
    """What is known of a board's store: its last state with an image, whether the harness had loaded that itself, and
    what is wrong now, with what to try (empty: nothing)."""

    state: LfsState
    own: bool = False
    problem: str = ""
    hint: str = ""


def look_at(
    before: KeptStore | None, now: LfsState, said: str, *, own: bool = False, written: bool = False
) -> KeptStore:
    """What is known of the store from now on. ``said``: the start's words; ``own``: the harness loaded its image in
    this session; ``written``: it wrote the firmware in it.

    An image that is gone stays known, with the problem, until another one is loaded.
    """
    if now.used:
        same = before is not None and (before.state.used, before.state.built) == (now.used, now.built)
        problem, hint = _too_large(now)
        return KeptStore(now, own or bool(before and before.own and same), problem, hint)
    if before is None or not before.state.used:
        return KeptStore(now, False, *_refused_at_start(now, said))
    if before.own:
        return KeptStore(now)  # the suites load theirs again by themselves
    why = _why_gone(before.state, now, said) or ("nothing is there since the firmware was written" if written else "")
    if not why:  # emptied by somebody, with the same firmware
        return before if before.problem else KeptStore(now)
    problem = f"expected the LFS image that was there ({_image(before.state)}), none is loaded: {why}"
    return KeptStore(before.state, False, problem, _try(now))


def found_before(known: KeptStore | None, found: FoundImage | None) -> KeptStore | None:
    """What was in the store before the firmware was written: what the flash held says more than what was known."""
    if found is None or (known is not None and known.problem):
        return known
    if known is not None and (known.state.base, known.state.used) == (found.base, found.used):
        return known
    numbers = "integer" if found.integer else "float"
    return KeptStore(LfsState(found.base, 0, found.size, found.used, 0, numbers))


def lines(known: KeptStore) -> list[str]:
    """For people: one fact a line."""
    state = known.state
    if known.problem:
        return [f"LFS: {known.problem}", f"to try: {known.hint}"]
    if not state.size:
        return ["LFS: the firmware has no region"]
    return [f"LFS: {_image(state) if state.used else 'empty'}, in a region of {state.size} B"]


def _image(state: LfsState) -> str:
    built = f", built {time.strftime('%Y-%m-%d', time.gmtime(state.built))}" if state.built else ""
    return f"{state.used} B at 0x{state.base:06x}, {state.numbers}{built}"


def _too_large(now: LfsState) -> tuple[str, str]:
    """The firmware does not compare them when it starts: image and filesystem would write over each other."""
    if now.used <= now.size:
        return "", ""
    return (
        f"expected an LFS image of at most {now.size} B, this firmware's region at 0x{now.base:06x}; came one of "
        f"{now.used} B, which reaches into what lies behind it",
        "write firmware with a region of that size (LUA_FLASH_STORE), or build a smaller image and reload it",
    )


def _why_gone(before: LfsState, now: LfsState, said: str) -> str:
    if not now.size:
        return "this firmware has no LFS region"
    if before.numbers != now.numbers:
        return f"this firmware computes with {now.numbers} numbers"
    if before.base != now.base:
        return f"this firmware's region is at 0x{now.base:06x}"
    if before.used > now.size:
        return f"this firmware's region has {now.size} B"
    return _of_words(said)


def _refused_at_start(now: LfsState, said: str) -> tuple[str, str]:
    """Of a board that is seen for the first time, its start alone tells."""
    why = _of_words(said)
    if not why or not now.size:
        return "", ""
    return f"expected an LFS image for this firmware at 0x{now.base:06x}, none is loaded: {why}", _try(now)


def _of_words(said: str) -> str:
    if said.startswith(_ADDRESS):
        return "what lies there is an absolute image for another address"
    if not said.startswith(_SIGNATURE):
        return ""
    try:
        came, wanted = (int(word, 16) for word in said.removeprefix(_SIGNATURE).split(" vs "))
    except ValueError:
        return ""
    if not is_signature(came):
        return "what lies there is no image (the region of an earlier firmware may have been elsewhere)"
    if came & IN_PROGRESS:
        return "a reload was cut off"
    if (came ^ wanted) & INTEGER:
        return f"what lies there is an image for {'integer' if came & INTEGER else 'float'} firmware"
    return f"what lies there is an image of another format (0x{came:08x}, expected 0x{wanted:08x})"


def _try(now: LfsState) -> str:
    if not now.size:
        return "write firmware that is built with LUA_FLASH_STORE"
    integer = " --integer" if now.numbers == "integer" else ""
    return (
        f"build it for this firmware ('harness lfs build -m {now.size}{integer}', or with -a 0x{now.mapped:08x}), "
        "put it on the board and node.LFS.reload it"
    )
