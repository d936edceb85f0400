"""How large Lua's objects are on the ESP8266: NodeMCU's Lua 5.1, added up from the fields of its structures.

Source: NodeMCU release 36cbf9f, ``app/lua``: ``lobject.h`` (Value, TString, Udata, Proto, LocVar, UpVal, Closure, Node,
Table), ``lstate.h`` (lua_State, CallInfo), ``lfunc.h`` (sizeCclosure, sizeLclosure), ``lstring.h`` (sizestring),
``ltable.c`` (how a table grows). Pointers, ``int`` and ``size_t`` have 4 bytes. A TValue is packed to 4 bytes, so that
one with a double takes 12; TString and Udata are unions with a double, and so multiples of 8.

These are the sizes that Lua itself asks for and counts (``collectgarbage("count")``, ``lmem.c``). The heap model of the
virtual board (:mod:`harness.reference.nodemcu.lua_heap`) has figures of its own: each is held against the other.
"""

from __future__ import annotations

WORD = 4
#: ``CommonHeader`` as a word each: next; tt and marked with up to two more bytes.
HEADER = 2 * WORD


def value(*, integer: bool = False) -> int:
    """TValue: lua_Number (double, or int in integer builds), tt."""
    return (4 if integer else 8) + WORD


def string(length: int) -> int:
    """TString: header, hash, len; then the characters and a NUL."""
    return HEADER + 2 * WORD + length + 1


def table(array: int = 0, nodes: int = 0, *, integer: bool = False) -> int:
    """Table: header (with flags and lsizenode), metatable, array, node, lastfree, gclist, sizearray; its two vectors.

    A node is two TValues and a pointer. ``nodes`` is 0 or a power of two.
    """
    one = value(integer=integer)
    return HEADER + 6 * WORD + array * one + nodes * (2 * one + WORD)


def lua_closure(upvalues: int = 0) -> int:
    """LClosure: header (with isC, nupvalues), gclist, env, p; a pointer for each upvalue."""
    return HEADER + 3 * WORD + upvalues * WORD


def upvalue(*, integer: bool = False) -> int:
    """UpVal: header, v, and its own value (or two links while it is open)."""
    return HEADER + WORD + max(value(integer=integer), 2 * WORD)


def local_name() -> int:
    """LocVar: varname, startpc, endpc."""
    return 3 * WORD


def prototype() -> int:
    """Proto: header, six vectors and source, five sizes and two lines, gclist, four bytes."""
    return HEADER + 7 * WORD + 7 * WORD + WORD + WORD


def userdata(size: int = 0) -> int:
    """Udata: header, metatable, env, len, to a multiple of 8; then its bytes."""
    return (HEADER + 3 * WORD + 7) // 8 * 8 + size


def thread(*, integer: bool = False) -> int:
    """A new coroutine: lua_State, 45 slots of stack (2 * LUA_MINSTACK and EXTRA_STACK), 8 CallInfo of 6 words."""
    one = value(integer=integer)
    state = HEADER + 9 * WORD + 2 * WORD + WORD + WORD + 3 * WORD + 2 * one + 4 * WORD
    return state + 45 * one + 8 * 6 * WORD


_EVENTS = "index newindex gc mode eq add sub mul div mod pow unm len lt le concat call metatable"
_PACKAGE = "loaders path cpath config loaded preload _LOADED _LOADLIB"
#: Strings that the firmware's own start puts into RAM unless the image has them, and never gives back: names of
#: metamethods (``ltm.c``, luaT_init) and the error for a full heap (``lstate.c``, f_luaopen).
FIXED_STRINGS = (*(b"__" + name.encode() for name in _EVENTS.split()), b"not enough memory")
#: The same, and those of the table ``package`` (``loadlib.c``, luaopen_package). Reserved words are none: NodeMCU's
#: lexer compares their characters (``llex.c``).
FIRMWARE_STRINGS = frozenset(FIXED_STRINGS) | {name.encode() for name in _PACKAGE.split()}
