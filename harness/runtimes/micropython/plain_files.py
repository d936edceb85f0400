"""Files on a VM without ``binascii`` (the micro:bit's, of 2017): as literals in small programs, and back as hex.

Without flow control, without the mode "ab", without a CRC: what was written is read back to be compared.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable

from harness.errors import BenchFault, Refused
from harness.link.panics import printable
from harness.runtimes.interface import RunResult
from harness.runtimes.micropython.file_programs import SEND_PLAINLY

#: Bytes of the file in one program.
_BLOCK = 64

Run = Callable[[str], RunResult]


def put(run: Run, path: str, data: bytes) -> None:
    """Raises BenchFault when the VM refuses, or reads back something else."""
    programs = [f"_f = open({path!r}, 'wb')"]
    for at in range(0, len(data), _BLOCK):
        programs.append(f"_f.write({data[at : at + _BLOCK]!r})")
    for program in [*programs, "_f.close()\ndel _f"]:
        if error := run(program).stderr:
            raise Refused(f"{path} cannot be written: {printable(error[-200:])}", hint="is there space?")
    if get(run, path) != data:
        raise BenchFault(f"{path}: the board reads back something else than was written")


def get(run: Run, path: str) -> bytes:
    """Raises BenchFault when there is no such file, or its length or the sum of its bytes is wrong."""
    result = run(SEND_PLAINLY % path)
    if result.stderr:
        raise Refused(f"{path} cannot be read: {printable(result.stderr[-200:])}")
    try:
        *lines, length, check = result.stdout.split()
        data = binascii.unhexlify(b"".join(lines))
        whole = (int(length), int(check)) == (len(data), sum(data) & 0xFFFF)
    except ValueError:
        whole = False
    if not whole:
        raise BenchFault(f"{path}: arrived damaged", hint="check the cable and the baud rate")
    return data
