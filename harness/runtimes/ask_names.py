"""What a MicroPython-family VM says about itself: one program, run the same on a board and on the host.

The answer is untrusted text: it is checked against a CRC-32 and parsed as plain fields, never evaluated.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable

from harness.errors import BenchFault
from harness.runtimes.interface import Facts, ObjectRepr, RunResult

# The object representation (MicroPython py/mpconfig.h, MICROPY_OBJ_REPR_*): floats are objects on the heap in A, and
# inline in C (esp8266) and D. The largest power of two that costs no heap tells how many bits a small int has: 31
# or 63 in A, 31 in C, 47 in D. Each is looked at twice, so that what the first look allocates does not count.
_PROGRAM = """
import sys, gc
try:
    from binascii import crc32
except ImportError:
    crc32 = None
def _f(x):
    a = gc.mem_alloc()
    b = x * 1.5
    return gc.mem_alloc() - a
def _bits():
    n = 8
    while n < 70:
        a = gc.mem_alloc()
        b = 1 << n
        if gc.mem_alloc() > a:
            break
        n += 1
    return n + 1
def _facts():
    gc.collect()
    _f(2.25), _bits()
    m = getattr(sys, "maxsize", (1 << _bits() - 1) - 1)
    w = 2 if m < 1 << 16 else 4 if m < 1 << 32 else 8
    i = sys.implementation
    v = sys.version
    if i.name == "micropython" and "ython" not in v:
        v = "%s; MicroPython v%d.%d.%d" % ((v,) + i.version[:3])
    s = "|".join(str(x).replace("|", "/") for x in (
        i.name, v, getattr(i, "_machine", sys.platform), w, _f(2.25),
        gc.mem_alloc() + gc.mem_free(), getattr(i, "_mpy", 0), sys.platform, getattr(i, "_build", ""), _bits()))
    c = crc32(s.encode()) & 0xffffffff if crc32 else 0
    print("\\x02" + s + "|%08x\\x03" % c)
_facts()
del _facts, _f, _bits
"""

_FRAME = re.compile(rb"\x02([^\x00-\x1f\x7f]{1,600})\|([0-9a-f]{8})\x03")


class DamagedAnswer(BenchFault):
    """The VM did not say what it is, or what it said arrived damaged."""


def read_facts(run: Callable[[str], RunResult]) -> Facts:
    """Run the probe through ``run``. Raises BenchFault when the answer is damaged or not understood."""
    result = run(_PROGRAM)
    answer = _FRAME.search(result.stdout)
    if answer is None:
        came = (result.stderr or result.stdout)[-200:].decode("ascii", "backslashreplace")
        raise DamagedAnswer(
            f"the board did not say what it is; expected a record, came {came!r}",
            hint="is this a MicroPython-family VM, and is its console baud rate right?",
        )
    body, check = answer.groups()
    if int(check, 16) not in (0, zlib.crc32(body)):
        raise DamagedAnswer("the board's description arrived damaged", hint="check the cable and the baud rate")
    fields = body.decode("utf-8", "replace").split("|")  # names of boards hold more than ASCII
    try:
        name, version, machine, word, float_bytes, heap, mpy, platform, build, bits = fields
        representation: ObjectRepr = "A" if int(float_bytes) > 0 else "D" if int(bits) > 31 else "C"
        return Facts(
            name=name,
            version=version,
            machine=machine,
            word_size=8 if representation == "D" else int(word),  # what an object, and so the heap, is counted in
            object_repr=representation,
            heap_total=int(heap),
            mpy=int(mpy),
            extra={
                "platform": platform,
                "build": build,
                "small_int_bits": str(int(bits)),
                **({} if int(check, 16) else {"crc32": "no"}),
            },
        )
    except ValueError:
        raise BenchFault(f"the board's description makes no sense: {fields}") from None


def missing(run: Callable[[str], RunResult], names: Iterable[str]) -> set[str]:
    """Which of these modules, and names in modules (``sys``, ``sys.path``), the VM lacks; asked one by one."""
    lacking = set()
    for name in names:
        module, _, attribute = name.partition(".")
        if run(f"import {module}\n{module}.{attribute}" if attribute else f"import {module}").stderr:
            lacking.add(name)
    return lacking
