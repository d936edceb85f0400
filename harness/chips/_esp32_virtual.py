"""What the virtual boards of the newer ESP32 chips have in common: fuses, ROM loader, the words of the boot ROM.

esptool's target classes say where everything is (``esptool/targets/esp32s3.py`` and its siblings); a test holds these
records against them. What the ROMs print follows public boot logs.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.chips.virtual_parts import KB, EsptoolView, RomWords, VirtualParts

#: The C5, the C6 and the newer ones read fuses, flash and serial port through the same controllers as the C3.
_ROM_CAN = frozenset({"flash", "mem", "reg", "spi", "md5", "deflate", "slow-read", "baud"})
#: EFUSE_BLK0, as offsets in the fuses' registers: SECURE_BOOT_EN, SPI_BOOT_CRYPT_CNT, DIS_DOWNLOAD_MANUAL_ENCRYPT.
_FUSES = {"secure-boot": (0x38, 1 << 20), "flash-encryption": (0x34, 1 << 18), "no-encrypted-download": (0x30, 1 << 20)}
#: EFUSE_BLK1 with the MAC address, and its words 3 and 5.
_BLOCK1, _WORD3, _WORD5 = 0x44, 0x50, 0x58

#: How the S3's and the C3's ROM name the causes of a start.
RTC_REASONS = {
    0x1: "POWERON",
    0x3: "RTC_SW_SYS_RST",
    0x5: "DSLEEP",
    0x7: "TG0WDT_SYS_RST",
    0xC: "RTC_SW_CPU_RST",
    0xF: "BROWNOUT_RST",
    0x10: "RTCWDT_RTC_RST",
    0x15: "USB_UART_CHIP_RESET",
}


def rom_words(
    rom: str, built: str, flash: str, download: str, reasons: Mapping[int, str] = RTC_REASONS, *, restart: int = 0xC
) -> RomWords:
    """``rom`` and ``built`` name the ROM; ``reasons`` are the chip's own names of the numbers, of which ``restart`` is
    the one of a restart by software."""
    codes = {
        "power-on": 0x1,
        "external": 0x1,
        "usb": 0x15,
        "software": restart,
        "bootloader": 0x3,
        "deep-sleep": 0x5,
        "watchdog": 0x7,  # the ROM's own, while nothing boots
        "task-watchdog": restart,
        "rtc-watchdog": 0x10,
        "brown-out": 0xF,
        "panic": restart,
    }
    return RomWords(
        greeting=f"ESP-ROM:{rom}\nBuild:{built}\n",
        flash=f"boot:{flash} (SPI_FAST_FLASH_BOOT)",
        download=f"boot:{download}",
        before_load="SPIWP:0xee\nmode:DIO, clock div:1\n",
        reasons={key: (code, reasons[code]) for key, code in codes.items()},
    )


def newer_parts(
    name: str,
    *,
    title: str,
    chip_id: int,
    magic: int,
    pace_ns: int,
    spi: int,
    fuses: int,
    rtc_watchdog: tuple[int, int, int],
    rom: RomWords,
    loads_at: tuple[tuple[int, ...], int],
    revision: tuple[int, int],
    major_at: tuple[int, int, int] = (_WORD5, 24, 2),
    minor_at: tuple[int, int, int] = (_WORD3, 18, 3),
    registers: Mapping[int, int] | None = None,
) -> VirtualParts:
    """``spi`` and ``fuses`` are base addresses; ``major_at``, ``minor_at`` and the keys of ``registers`` begin with an
    offset from ``fuses``. ``magic`` is the word at which older hosts tell the chips apart; ``revision`` the (major,
    minor) one.
    """
    view = EsptoolView(
        name=name,
        magic=magic,
        rom_status=4,
        spi_base=spi,
        spi_usr2=0x20,
        spi_w0=0x58,
        spi_address_shifted=False,
        mac_at=fuses + _BLOCK1,
        rom_can=_ROM_CAN,
        chip_id=chip_id,
        registers={fuses + offset: value for offset, value in (registers or {}).items()},
        fuses={fuse: (fuses + offset, mask) for fuse, (offset, mask) in _FUSES.items()},
        major_at=(fuses + major_at[0], *major_at[1:]),
        minor_at=(fuses + minor_at[0], *minor_at[1:]),
        rtc_watchdog=rtc_watchdog,
        rom=rom,
    )
    return VirtualParts(
        pace_ns=pace_ns,
        heap=64 * KB,  # the port's first area
        board=title,
        part=title,
        loads_at=loads_at,
        esptool=view.burnt((), revision),
    )
