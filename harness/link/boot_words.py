"""What the words of a start that went wrong are evidence of, and what to try then.

Only what the words themselves prove is said: a chip that waits in its boot loader has a low strap and no bad cable.

Sources: esptool documentation, "Boot Mode Selection" and "Troubleshooting"; ESP-IDF ``bootloader_common_loader.c``
(chip id, revision), ``cpu_start.c`` (PSRAM, octal flash), ``components/esp_psram``, ``esp_flash_spi_init.c`` (size),
"SPI Flash API" (octal flash); public boot logs of the ROMs with a flash that does not answer in the mode or at the
frequency of the image's header.
"""

from __future__ import annotations

import re

_HEADER_MODE = re.compile(rb"mode:([A-Z_]{3,7}), clock div:([1-9])")
#: Words of the ROM when it cannot load what it reads: nothing is written there, or it does not read what is.
_UNREADABLE = re.compile(
    rb"load:0xffffffff,len:-1|ets_loader\.c \d+|load:0x0f3f0004|invalid header: 0x|flash read err, \d+|csum err"
    rb"|ets_main\.c \d+|invalid segment"
)
#: The ROM waits for a loader's words (ESP32 and later; ESP8266).
_IN_LOADER = re.compile(rb"waiting for download|boot:0x[0-9a-f]{1,2} \(DOWNLOAD|boot mode:\(1,\d\)")
_QUAD_FIRMWARE = "this firmware is built for quad flash, and the chip says that its flash is octal"
#: Evidence, and what to try. The first that is found counts.
_TABLE: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (
        re.compile(rb"Brownout detector was triggered|_BROWN_OUT_RESET|\(BROWNOUT_RST\)"),
        "the supply dips when the chip starts: give the board another USB port, a hub with its own supply or a shorter "
        "cable, and take off what it feeds. Another write does not help",
    ),
    (
        re.compile(rb"Octal Flash option selected, but EFUSE not configured"),
        "this firmware is built for octal flash, and the chip's fuses say that it has quad flash: take the firmware "
        "without 'octal flash' (OPI) for this module",
    ),
    (
        re.compile(rb"Octal Flash Mode Enabled.{0,1500}?(?:assert failed: do_core_init|Probe failed)", re.DOTALL),
        f"{_QUAD_FIRMWARE}: take the firmware for modules with octal flash (OPI; such as WROOM-2)",
    ),
    (
        re.compile(rb"smaller than the size in the binary image header"),
        "the image's header declares more flash than the chip has: take the firmware variant for this flash size",
    ),
    (
        re.compile(rb"exceeds flash chip size"),
        "the partition table needs more flash than the chip has: take the firmware variant for this flash size",
    ),
    (
        re.compile(rb"mismatch chip ID, expected \d+, found \d+"),
        "the application is for another chip than its boot loader: take the firmware for this chip",
    ),
    (
        re.compile(rb"chip revision check failed|Image requires (?:chip|efuse blk) rev"),
        "the firmware is for another revision of this chip: take a build for this one",
    ),
    (
        re.compile(rb"Failed to init external RAM!|PSRAM enabled but initialization failed\. Bailing out"),
        "this firmware needs PSRAM, and none answers in the way that it asks: take the firmware without SPIRAM, or the "
        "variant for this module's PSRAM (quad or octal)",
    ),
    (
        re.compile(
            rb"[Ss]ecure[ _]boot[^\r\n]{0,60}(?:failed|invalid)|No signature block|signature verification failed"
        ),
        "the chip only starts firmware that is signed for it: sign it, or take a chip without secure boot",
    ),
)
#: Words of a start that goes on all the same.
_DOUBTS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (
        re.compile(
            rb"Failed to init external RAM; continuing without it|PSRAM ID read error|PSRAM chip is not connected"
        ),
        "the firmware looked for PSRAM and none answered in the way that it asks: its heap is internal RAM alone. "
        "Without PSRAM on the module take the firmware without SPIRAM, else the variant for its kind (quad or octal)",
    ),
)


def cause(said: bytes, *, verified: bool = False, strap: str = "") -> str:
    """What to try after a start that said ``said``; empty when its words prove nothing.

    ``strap`` is the pin of the boot strap.

    ``verified``: what is in the flash was proved to be what was written.
    """
    if _IN_LOADER.search(said):
        return (
            f"the chip sits in its boot loader: its boot strap ({strap or 'GPIO0 on most chips'}) was low at reset: "
            "let go of BOOT, take off what pulls that pin low; 'console' in boards.yaml must not assert DTR. Another "
            "write does not help"
        )
    for words, text in _TABLE:
        if words.search(said):
            return text
    if not _UNREADABLE.search(said):
        return ""
    mode = _HEADER_MODE.search(said)
    asks = f" ({mode[1].decode()}, {80 // int(mode[2])} MHz)" if mode else ""
    if verified:
        return (
            f"what was written was proved by reading it back, so this chip cannot read its flash in the way that the "
            f"image's header asks{asks}: take firmware for DIO at 40 MHz; take off what is wired to the flash's pins "
            "(ESP32: GPIO6 to 11, and GPIO12, which sets the flash's voltage)"
        )
    return (
        "there is nothing at the place that the chip boots from, or it cannot be read: write the firmware (harness "
        f"flash), at the chip's own offset. If it is there, the chip cannot read it in the way that its header "
        f"asks{asks}"
    )


def doubts(said: bytes) -> str:
    """What a start that succeeded said of a lack; empty when nothing."""
    return next((text for words, text in _DOUBTS if words.search(said)), "")
