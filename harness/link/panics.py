"""Texts by which a board says that it has crashed or cannot boot.

Sources: ESP-IDF Programming Guide, "Fatal Errors"; public boot logs of the ROMs; MicroPython
``ports/esp32/panichandler.c``, ``ports/esp8266/main.c``, ``ports/stm32/main.c``; CircuitPython
``supervisor/shared/safe_mode.c``; the NodeMCU documentation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.errors import BenchFault, FirmwareFailure, VmCrashed

#: Class of trouble, and the text that tells it. The first that matches counts.
_FATAL: tuple[tuple[str, bytes], ...] = (
    ("panic", rb"Guru Meditation Error: Core +\d+ panic'ed \([^)\r\n]{1,80}\)"),
    ("panic", rb"abort\(\) was called at PC 0x[0-9a-f]+"),
    ("panic", rb"assert failed: [^\r\n]{1,120}"),
    ("panic", rb'assertion "[^"\r\n]{1,120}" failed: '),
    ("panic", rb"CORRUPT HEAP: [^\r\n]{1,120}"),
    ("panic", rb"A stack overflow in task [^\r\n]{1,60}"),
    ("panic", rb"Fatal exception \(?\d+[^\r\n]{0,60}"),
    ("panic", rb"The system restarted due to an error\."),
    ("panic", rb"mp_task_heap allocation failed"),
    ("panic", rb"FATAL: uncaught exception [^\r\n]{1,60}"),
    ("panic", rb"FATAL ERROR:"),
    ("panic", rb"NLR jump failed"),
    ("panic", rb"PANIC: unprotected error[^\r\n]{0,80}"),
    ("panic", rb"CircuitPython core code crashed hard"),
    ("brown-out", rb"You are in safe mode because:\s{1,8}[^\r\n]{0,30}[Pp]ower dipped"),
    ("safe mode", rb"You are in safe mode because:"),
    ("brown-out", rb"Brownout detector was triggered"),
    ("boot", rb"invalid header: 0x[0-9a-f]{8}"),
    ("boot", rb"csum err[^\r\n]{0,30}"),
    ("boot", rb"flash read err, \d+"),
    ("boot", rb"ets_main\.c \d+"),
    ("boot", rb"esp_image: (?:Checksum failed|Image hash failed)[^\r\n]{0,80}"),
    ("boot", rb"No bootable app partitions[^\r\n]{0,60}"),
    ("boot", rb"Failed to verify partition table"),
    ("boot", rb"waiting for download"),
)
_FATAL_ANY = re.compile(b"|".join(b"(?:%s)" % text for _, text in _FATAL))
#: The ROM's banner: the chip has been reset, for whatever reason.
BANNER = re.compile(rb"rst:0x[0-9a-f]{1,2} \([A-Z0-9_]{1,40}\)|rst cause:\d, boot mode:\(\d,\d\)")
#: No banner is longer than this, in bytes.
BANNER_SIZE = 64
_LOOP = 3


@dataclass(frozen=True)
class Panic:
    """``kind`` is a class of the table, "reset" or "boot loop"; ``text`` plain, bounded."""

    kind: str
    text: str

    @property
    def is_bench_fault(self) -> bool:
        """Whether it is rather what was flashed, the straps or the supply than the running firmware."""
        return self.kind in ("boot", "boot loop", "brown-out")


def crashed(what: str, panic: Panic) -> BenchFault | FirmwareFailure:
    """The error for a board that said ``panic`` of itself; ``what`` says when."""
    message = f"{what} ({panic.kind}): {panic.text}"
    if panic.kind == "brown-out":
        return BenchFault(message, hint="check the supply and the USB cable")
    if panic.is_bench_fault:
        return BenchFault(message)
    return FirmwareFailure(message) if panic.kind == "reset" else VmCrashed(message)


def find_panic(data: bytes, *, reset_expected: bool = False, earlier_banners: int = 0) -> Panic | None:
    """The first sign of trouble in ``data``.

    With ``reset_expected`` one or two ROM banners are what was asked for, and only more are a boot loop;
    ``earlier_banners`` came before ``data``.
    """
    fatal = _FATAL_ANY.search(data)
    if fatal is not None:
        kind = next(kind for kind, text in _FATAL if re.match(text, fatal.group()))
        return Panic(kind, _around(data, fatal.start(), fatal.end()))
    banners = list(BANNER.finditer(data))
    if not banners:
        return None
    if earlier_banners + len(banners) >= _LOOP:
        return Panic("boot loop", _around(data, banners[0].start(), banners[-1].end()))
    if not reset_expected:
        return Panic("reset", _around(data, banners[0].start(), banners[0].end()))
    return None


def _around(data: bytes, start: int, end: int) -> str:
    return printable(data[max(0, start - 120) : end + 240], 480)


def printable(data: bytes, limit: int = 400) -> str:
    """Board output as bounded plain text: no control characters, no escapes; lines kept apart by " / "."""
    text = data.decode("utf-8", "replace")
    lines = (
        "".join(char if char.isprintable() and char != "\ufffd" else "?" for char in line).strip()
        for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\].*?(\x07|\x1b\\)", "", text))
    )
    joined = " / ".join(line for line in lines if line)
    return joined if len(joined) <= limit else joined[: limit - 1] + "…"
