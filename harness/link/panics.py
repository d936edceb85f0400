"""Texts by which a board says that it has crashed or cannot boot.

A program can print any of them. So they count at the start of a line only, where ROM and firmware say them, and what
comes while a program runs is a suspicion until something confirms it (:meth:`harness.link.session.Session.read_until`).

Sources: ESP-IDF Programming Guide, "Fatal Errors"; public boot logs of the ROMs; MicroPython
``ports/esp32/panichandler.c``, ``ports/esp8266/main.c``, ``ports/stm32/main.c``, ``ports/stm32/stm32_it.c``,
``ports/qemu/mcu/arm/errorhandler.c``, ``ports/qemu/mcu/rv32/interrupts.c``; CircuitPython
``supervisor/shared/safe_mode.c``; the NodeMCU documentation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.errors import BenchFault, FirmwareFailure, VmCrashed

#: Where a line starts: what a ROM says at another rate is bytes that are no text, and ends with none.
_LINE_START = rb"(?<![\x20-\x7e])"
#: How a line of ESP-IDF's log begins, perhaps coloured, and before its log runs without a time.
_LOG = rb"(?:\x1b\[[0-9;]{1,8}m)?E (?:\(\d{1,10}\) )?"
#: Class of trouble, and the text that tells it. The first that matches counts.
_FATAL: tuple[tuple[str, bytes], ...] = (
    ("panic", rb"Guru Meditation Error: Core +\d+ panic'ed \([^)\r\n]{1,80}\)"),
    ("panic", rb"abort\(\) was called at PC 0x[0-9a-f]+"),
    ("panic", rb"assert failed: [^\r\n]{1,120}"),
    ("panic", rb'assertion "[^"\r\n]{1,120}" failed: '),
    ("panic", rb"CORRUPT HEAP: [^\r\n]{1,120}"),
    ("panic", rb"(?:\*{3}ERROR\*{3} )?A stack overflow in task [^\r\n]{1,60}"),
    ("panic", rb"Fatal exception \(?\d+[^\r\n]{0,60}"),
    ("panic", rb"The system restarted due to an error\."),
    ("panic", rb"mp_task_heap allocation failed"),
    ("panic", rb"FATAL: uncaught exception [^\r\n]{1,60}"),
    ("panic", rb"FATAL ERROR:"),
    ("panic", rb"HardFault\r?\nR0 {1,8}[0-9a-f]{8}"),
    ("panic", rb"(?:NMI|HardFault|MemManage|BusFault|UsageFault) exception caught:"),
    ("panic", rb"MACHINE EXCEPTION CAUGHT:"),
    ("panic", rb"NLR jump failed"),
    ("panic", rb"PANIC: unprotected error[^\r\n]{0,80}"),
    ("panic", rb"CircuitPython core code crashed hard"),
    ("brown-out", rb"You are in safe mode because:\s{1,8}[^\r\n]{0,30}[Pp]ower dipped"),
    ("safe mode", rb"You are in safe mode because:"),
    ("brown-out", rb"(?:E BOD: )?Brownout detector was triggered"),
    ("boot", rb"invalid header: 0x[0-9a-f]{8}"),
    ("boot", rb"Invalid chip id\. Expected \d+ read \d+\."),
    ("boot", rb"Checksum failure\. Calculated 0x[0-9a-f]+ stored 0x[0-9a-f]+"),
    ("boot", rb"csum err[^\r\n]{0,30}"),
    ("boot", rb"flash read err, \d+"),
    ("boot", rb"ets_main\.c \d+"),
    ("boot", _LOG + rb"esp_image: (?:Checksum failed|Image hash failed)[^\r\n]{0,80}"),
    ("boot", _LOG + rb"boot: No bootable app partitions[^\r\n]{0,60}"),
    ("boot", _LOG + rb"boot: Failed to verify partition table"),
    ("boot", _LOG + rb"boot_comm: (?:mismatch chip ID|chip revision check failed|Image requires)[^\r\n]{0,80}"),
    ("boot", _LOG + rb"cpu_start: (?:Octal Flash option selected|Failed to init external RAM!)[^\r\n]{0,60}"),
    ("boot", _LOG + rb"spi_flash: Detected size\(\d+k\) smaller than[^\r\n]{0,80}"),
    ("boot", rb"load:0xffffffff,len:-1"),
    ("boot", rb"ets_loader\.c \d+"),
    ("boot", rb"waiting for download"),
)
_FATAL_TEXT = b"(?:" + b"|".join(b"(?:%s)" % text for _, text in _FATAL) + b")"
_FATAL_ANY = re.compile(_LINE_START + _FATAL_TEXT)
#: The same within a line that a program had not ended: it counts when a start follows.
_FATAL_IN_LINE = re.compile(_FATAL_TEXT)
#: The ROM's banner: the chip has been reset, for whatever reason.
BANNER = re.compile(
    _LINE_START + rb"(?:rst:0x[0-9a-f]{1,2} \([A-Z0-9_]{1,40}\)"
    rb"|(?: ?ets [A-Z][a-z]{2} [ \d]\d \d{4},)?rst cause:\d, boot mode:\(\d,\d\))"
)
#: What stands behind the text of a real crash: registers, a backtrace, the next start.
_AFTERMATH = re.compile(
    _LINE_START + rb"(?:epc1=0x|Core +\d+ register dump|Backtrace: ?0x|Rebooting\.\.\.|ELF file SHA256"
    rb"|R0: {1,8}[0-9A-F]{8} R1: | RA=[0-9A-F]{8}  SP=|LR {1,8}[0-9a-f]{8}\r?\n)|" + BANNER.pattern
)
#: No banner is longer than this, in bytes.
BANNER_SIZE = 64
#: What a VM says before its friendly prompt when it has started, in raw mode never (MicroPython
#: ``shared/runtime/pyexec.c``). The only text of a start where the ROM has none that can be read: an STM32's says
#: nothing, an ESP8266's speaks at another rate.
_GREETING = re.compile(
    rb"(?:MicroPython|Adafruit CircuitPython) v?\d[^\r\n]{0,160}; [^\r\n]{1,160}\r\n"
    rb'(?:Type "help\(\)" for more[^\r\n]{0,20}\r\n)?>>> (?:\r\n>>> ){0,3}\Z'
)
_GREETING_SIZE = 400
_LOOP = 3


@dataclass(frozen=True)
class Panic:
    """``kind`` is a class of the table, "reset", "boot loop" or "application" (which lets the chip sleep as soon as it
    starts); ``text`` plain, bounded."""

    kind: str
    text: str

    @property
    def is_bench_fault(self) -> bool:
        """Whether it is rather what was flashed, the straps or the supply than the running firmware."""
        return self.kind in ("boot", "boot loop", "application", "brown-out")


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
    fatal = _FATAL_IN_LINE.search(data, 0, banners[0].start())
    if fatal is not None:
        kind = next(kind for kind, text in _FATAL if re.match(text, fatal.group()))
        return Panic(kind, _around(data, fatal.start(), fatal.end()))
    if earlier_banners + len(banners) >= _LOOP:
        # A chip that does not boot says why, and each time for the same reason of the ROM's: not so one whose program
        # sleeps or restarts it.
        return Panic(
            "application" if _by_itself(data) else "boot loop", _around(data, banners[0].start(), banners[-1].end())
        )
    if not reset_expected:
        return Panic("reset", _around(data, banners[0].start(), banners[0].end()))
    return None


def find_greeting(data: bytes | bytearray) -> Panic | None:
    """A start that ``data`` ends with, of a chip whose ROM says nothing of it."""
    end = bytes(data[-_GREETING_SIZE:]) if data.endswith(b">>> ") else b""
    greeting = _GREETING.search(end)
    return Panic("reset", printable(greeting.group())) if greeting else None


#: A start that only a program that ran can have led to (ESP-IDF ``rtc.h``, ``soc_reset_reason_t``).
_AFTER_SLEEP = re.compile(_LINE_START + rb"rst:0x5 \((?:DEEPSLEEP_RESET|DSLEEP)\)")


def _by_itself(data: bytes) -> bool:
    return _AFTER_SLEEP.search(data) is not None and _FATAL_ANY.search(data) is None


def confirmed_crash(data: bytes) -> Panic | None:
    """A crash in ``data`` that is more than its first words: what a crash leads to stands behind them."""
    for fatal in _FATAL_ANY.finditer(data):
        if _AFTERMATH.search(data, fatal.end()) is not None:
            return find_panic(data[fatal.start() :], reset_expected=True)
    return None


#: Lines of a boot ROM and of the loader behind it, which say nothing of what runs then.
_ROM_LINES = re.compile(
    rb"^(?:ets |rst:|configsip|clk_drv|mode:|load:|load 0x|ho \d|tail \d|entry 0x|chksum |csum |I \(\d)[^\r\n]*\r?\n?",
    re.MULTILINE,
)


def is_text(data: bytes) -> bool:
    """Whether ``data`` can be what somebody said: nothing at all can, and so can a few damaged bytes."""
    return len(data) < 16 or _plain(data) >= 0.7 * len(data)


def by_application(data: bytes) -> bytes:
    """What a program may have printed of ``data``: all but the ROM's lines; nothing when that is no text, as of a
    console at another rate."""
    left = _ROM_LINES.sub(b"", data)
    return left if len(left.strip()) >= 8 and _plain(left) >= 0.9 * len(left) else b""


def _plain(data: bytes) -> int:
    return sum(0x20 <= byte < 0x7F or byte in b"\r\n\t\x1b" for byte in data)


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
