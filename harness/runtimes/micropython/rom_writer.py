"""A ROMFS image, written by the VM itself: no flasher is needed where the port has ``vfs.rom_ioctl``.

MicroPython documentation, module ``vfs``, function ``rom_ioctl``; the commands are those of ``extmod/vfs.h``
(``MP_VFS_ROM_IOCTL_*``): 1 number of segments, 2 a segment, 3 prepare for so many bytes, 4 write at an offset, 5 done.
"""

from __future__ import annotations

import base64
import zlib

from harness.errors import BenchFault, Refused
from harness.runtimes.interface import Runtime
from harness.runtimes.program import ask

#: Bytes of the image in one program.
_CHUNK = 2048
#: What one step may take, erasing included, in seconds.
_PATIENCE = 30.0

_WRITE = """
from vfs import rom_ioctl
from binascii import a2b_base64
if rom_ioctl(4, 0, {offset}, a2b_base64({data!r})) < 0:
    raise OSError("a write at {offset} was refused")
"""
#: Ports without anything to complete do not know the last command.
_DONE = "from vfs import rom_ioctl\nrom_ioctl(5, 0)"


def rom_start(runtime: Runtime, length: int) -> bytes:
    """The first ``length`` bytes (at most 64) of that segment."""
    first = "from vfs import rom_ioctl\nfrom binascii import hexlify"
    said = ask(runtime, f"hexlify(bytes(memoryview(rom_ioctl(2, 0))[:{min(length, 64)}])).decode()", first=first)
    try:
        return bytes.fromhex(said)
    except ValueError:
        raise BenchFault(f"the VM does not say what its ROMFS segment holds: {said[:80]!r}") from None


def write_rom(runtime: Runtime, image: bytes) -> None:
    """Write ``image`` to the first segment, and check what it holds then. The VM mounts it when it starts again.

    Raises Refused when the VM says no, BenchFault when it holds something else afterwards.
    """
    said = ask(runtime, f"rom_ioctl(3, 0, {len(image)})", first="from vfs import rom_ioctl")
    if not said.isdigit() or int(said) > _CHUNK:
        raise Refused(f"the VM did not make room for {len(image)} bytes of ROMFS: it says {said[:40]}")
    step = max(1, int(said))  # it writes so many bytes at once
    for offset in range(0, len(image), _CHUNK // step * step):
        piece = image[offset : offset + _CHUNK // step * step]
        data = base64.b64encode(piece + b"\xff" * (-len(piece) % step)).decode()
        _do(runtime, _WRITE.format(offset=offset, data=data))
    _do(runtime, _DONE)
    first = f"from vfs import rom_ioctl\nfrom binascii import crc32\nheld = memoryview(rom_ioctl(2, 0))[:{len(image)}]"
    held = ask(runtime, "'%08x' % (crc32(held) & 0xffffffff)", first=first)
    if held != f"{zlib.crc32(image):08x}":
        raise BenchFault(
            f"the ROMFS segment does not hold what was written to it: its CRC-32 is {held[:20]}, expected "
            f"{zlib.crc32(image):08x}",
            hint="is the flash worn, or is it written to by something else?",
        )


def _do(runtime: Runtime, program: str) -> None:
    result = runtime.run(program, timeout=_PATIENCE)
    if result.stderr:
        last = result.stderr.decode("utf-8", "replace").strip().splitlines()[-1][:120]
        raise Refused(f"the VM did not take a ROMFS image of its own: {last}")
