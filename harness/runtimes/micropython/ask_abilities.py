"""The questions that tell what a MicroPython-family VM can do: one small program, and a Ctrl-C.

Each question can go unanswered: a VM of 2017 on 10 kB of heap and one without any filesystem are asked the same. The
answer is untrusted text: checked against a CRC-32 where the VM can compute one, and parsed as plain fields.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from harness.errors import BenchFault
from harness.link.panics import printable
from harness.runtimes.abilities import ASKED_MODULES, OWN_FOLDER, Abilities
from harness.runtimes.interface import BoardRuntime, RunResult
from harness.runtimes.micropython.file_programs import BACK_AND_EMPTY, SWEEP_FLAT
from harness.runtimes.micropython.raw_repl import RawRepl
from harness.runtimes.pieces import parts_of

# Where files can be written is tried: the working directory first (/flash on the stm32 port, which has nothing at /),
# then what stands at the root. What an earlier run left in the harness's own folder goes at the same time,
# and files of the user's that it had set aside there are back. In short statements: a VM with 10 kB of heap takes them
# one by one.
_BEGIN = """
import sys
try:
    import os
except ImportError:
    os = None
def _try(call):
    try:
        return call()
    except Exception:
        return None
"""
_WRITING = (
    BACK_AND_EMPTY
    + """def _writes(base):
    own = base if base != "/" else ""
    made = 0
    if hasattr(os, "mkdir"):
        own += "/OWN_FOLDER"
        try:
            os.mkdir(own)
        except OSError:
            _back(base if base != "/" else "", own)
            _empty(own)
        made = 1
    else:
""".replace("OWN_FOLDER", OWN_FOLDER)
    + SWEEP_FLAT
    + """    name = own + "/hx_ask"
    file = open(name, "w")
    file.write("x")
    file.close()
    os.remove(name)
    if made:
        os.rmdir(own)
    return made
def _bases():
    found = [_try(lambda: os.getcwd()) or "/"]
    for name in _try(lambda: os.listdir("/")) or ():
        if name in ("flash", "sd", "ram", "data"):
            found.append("/" + name)
    return found if "/" in found else found + ["/"]
def _base():
    why = "no os" if os is None else ""
    for one in _bases() if os else ():
        try:
            return [one, why, str(_writes(one))]
        except Exception as problem:
            why = why or type(problem).__name__ + " " + str(problem)
    return ["", why, "0"]
_said = _base()
del _base, _bases, _writes, _empty, _back
"""
)
#: In place of that, for a board on which nothing may be written.
_NOT_WRITING = """_said = ["", "not tried", "0"]
"""
_REST = """_said.append("\\n".join(_try(lambda: [place for _, place in __import__("vfs").mount()]) or []))
_said.append("\\n".join(getattr(sys, "path", [])))
def _hertz():
    hz = _try(lambda: __import__("machine").freq()) or 0
    return str(hz[0] if isinstance(hz, tuple) else hz)
_said.append(_hertz())
def _has(name):
    try:
        __import__(name)
        return True
    except ImportError:
        return False
_said.append(" ".join([n for n in "ASKED_MODULES".split() if _has(n)]))
del _hertz, _has
def _timer():
    for number in (-1, 0):
        if _try(lambda: __import__("machine").Timer(number).deinit() or 1):
            return str(number)
    return ""
_said.append(_timer())
_said.append(str(_try(lambda: len(__import__("vfs").rom_ioctl(2, 0))) or 0))
del _timer, _try
def _tell():
    text = "|".join([f.replace("|", "/").replace("\\n", "\\x1f") for f in _said])
    text = "".join([c if "\\x1f" <= c <= "~" else "?" for c in text])
    crc = 0
    try:
        from binascii import crc32
        crc = crc32(text.encode()) & 0xffffffff
    except ImportError:
        pass
    print("\\x02" + text + "|%08x\\x03" % crc)
_tell()
del _tell, _said
""".replace("ASKED_MODULES", " ".join(ASKED_MODULES))

#: Ends by itself, so that a VM that does not see Ctrl-C is not lost; about a second on the slowest of them.
_BUSY = """
def _busy():
    try:
        from time import ticks_ms, ticks_diff
        start = ticks_ms()
        print("hx-busy")
        while ticks_diff(ticks_ms(), start) < 800: pass
    except ImportError:
        print("hx-busy")
        for _ in range(300000): pass
    print("hx-ended")
try:
    _busy()
finally:
    del _busy
"""

_FRAME = re.compile(rb"\x02([\x1f-\x7e]{0,1500})\|([0-9a-f]{8})\x03")
_BASE = re.compile(r"(?:/[A-Za-z0-9_.-]{0,60}){0,4}")


class Run(Protocol):
    """:meth:`harness.runtimes.interface.Runtime.run`."""

    def __call__(self, source: str, *, timeout: float = 30.0, interrupt_at: bytes = b"") -> RunResult: ...


def ask_abilities(
    run: Run, parts: Callable[[str], list[str]] = lambda source: [source], *, writes: bool = True
) -> Abilities:
    """Ask through ``run``; ``parts`` cuts a program for a VM with little heap. Without ``writes`` nothing is written,
    and so no folder for files is found.

    Raises BenchFault when the answer is damaged or makes no sense.
    """
    said = b""
    for part in parts(_BEGIN + (_WRITING if writes else _NOT_WRITING) + _REST):
        result = run(part)
        said += result.stdout
        if result.stderr:
            return Abilities(base="", no_files=f"the VM could not be asked: {_last_line(result.stderr)}")
    answer = _FRAME.search(said)
    if answer is None:
        raise BenchFault(
            f"the board did not say what it can do; expected a record, came {printable(said[-200:])!r}",
            hint="does an application on the board print by itself? Set it aside and try again",
        )
    text, check = answer.groups()
    if int(check, 16) not in (0, zlib.crc32(text)):
        raise BenchFault("what the board says it can do arrived damaged", hint="check the cable and the baud rate")
    fields = text.decode("ascii").split("|")
    try:
        base, why, made, mounts, path, hertz, modules, timer, rom = fields
        frequency, rom_size = int(hertz), int(rom)
        number = int(timer) if timer else None
    except ValueError:
        raise BenchFault(f"what the board says it can do makes no sense: {fields}") from None
    if not _BASE.fullmatch(base):
        raise BenchFault(f"the board's folder for files makes no sense: {base[:80]!r}")
    return Abilities(
        base=base,
        no_files=why,
        makes_folders=made == "1",
        mounts=_list(mounts),
        path=_list(path),
        frequency=frequency,
        modules=tuple(modules.split()),
        timer=number,
        rom_size=rom_size,
        ctrl_c=_sees_ctrl_c(run),
    )


def abilities_of(runtime: BoardRuntime) -> Abilities:
    """See :class:`harness.runtimes.traits.AbilitiesAsker`."""
    facts = runtime.facts
    asked = ask_abilities(runtime.run, lambda source: parts_of(source, facts))
    return replace(asked, paste_window=runtime.paste_window) if isinstance(runtime, RawRepl) else asked


def _sees_ctrl_c(run: Run) -> bool:
    result = run(_BUSY, timeout=20.0, interrupt_at=b"hx-busy")
    return b"hx-ended" not in result.stdout and b"KeyboardInterrupt" in result.stderr


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split("\x1f")) if text else ()


def _last_line(error: bytes) -> str:
    return printable((error.strip().splitlines() or [b"no reason"])[-1][:120])
