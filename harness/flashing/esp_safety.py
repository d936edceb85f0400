"""What is looked at before an ESP's flash is written, on the whole images: all that esptool's ``write-flash`` refuses.

The harness writes plain data always. So a chip that encrypts its flash gets no boot loader and no application, where
esptool would write them (for it may be asked to have them encrypted).

A check is passed over only by its name in ``flash.override`` of the board, with a reason that is kept with the report.

esptool 5 (``write_flash``): secure boot V1, key manager, images for other chips and revisions, plain data for a chip
with flash encryption. Here in addition: applications for other revisions, which the boot loader does not start (ESP-IDF
Programming Guide, "App Image Format"), and a header that declares more flash than the chip has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from esptool.util import NotImplementedInROMError, UnsupportedCommandError

from harness.chips import CHIPS
from harness.errors import UsageError
from harness.flashing.flasher import FlashImage, Security
from harness.formats.esp_contents import what_boots
from harness.formats.esp_image import EspImage

#: A chip with secure boot V1 checks the boot loader below this offset by a key that only it knows.
_BOOT_LOADER_END = 0x8000
#: Where flash encryption by the key manager keeps what recovers its key.
_KEY_RECOVERY_END = 0x2000
_ANY_REVISION = 0xFFFF


def security_of(esp: Any) -> Security | None:
    """What the fuses of ``esp``, esptool's object for the chip that is connected, forbid; None on an ESP8266.

    A chip in secure download mode answers ``GET_SECURITY_INFO`` alone (esptool documentation, "Serial Protocol").
    """
    if esp.CHIP_NAME == "ESP8266":
        return None
    try:
        if esp.CHIP_NAME != "ESP32":  # whose ROM has no such command
            info = esp.get_security_info()
            if info["parsed_flags"]["SECURE_DOWNLOAD_ENABLE"]:
                encrypts = bin(int(info["flash_crypt_cnt"])).count("1") % 2 == 1
                return Security(bool(info["parsed_flags"]["SECURE_BOOT_EN"]), encrypts, None, True)
        return Security(
            bool(esp.get_secure_boot_enabled()),
            bool(esp.get_flash_encryption_enabled()),
            bool(esp.get_encrypted_download_disabled()),
            False,
        )
    except UnsupportedCommandError:  # by esptool's detection: an ESP32-S2 in that mode
        return Security(secure_download=True)


def refuse_unsafe(
    esp: Any, chip: str, images: Sequence[FlashImage], flash_size: int | None, override: Mapping[str, str]
) -> list[str]:
    """Look at ``images`` before anything is erased. ``esp`` is esptool's object for the chip that is connected.

    Returns what was passed over, in words; raises UsageError with the first thing that was not.
    """
    passed = []
    for check, what in _objections(esp, chip, images, flash_size):
        if check not in override:
            raise UsageError(
                f"{what}; nothing was written",
                hint=f"if this is meant: flash.override: {{{check}: 'the reason'}} for this board in boards.yaml",
            )
        passed.append(f"flash.override {check} ({override[check]}): {what}")
    return passed


def _objections(esp: Any, chip: str, images: Sequence[FlashImage], flash_size: int | None) -> Iterator[tuple[str, str]]:
    if chip != "esp8266":
        yield from _by_fuses(esp, chip, images)
    boot_offset = CHIPS[chip].boot_offset
    for image in images:
        for offset, label, content in what_boots(chip, image.offset, image.data, image.label):
            came = content.chip or f"chip id {content.chip_id}"
            if offset == boot_offset and came != chip:
                yield "image-chip", f"{label} at 0x{offset:x} is an image for {came}, this chip is an {chip}"
            elif came == chip and chip != "esp8266" and (problem := _other_revision(esp, content)):
                yield "image-revision", f"{label} at 0x{offset:x} {problem}"
            size = content.flash_size
            if offset == boot_offset and size and flash_size and size > flash_size:
                yield (
                    "declared-flash-size",
                    f"the header of {label} declares 0x{size:x} bytes of flash, this chip has 0x{flash_size:x}",
                )


def _by_fuses(esp: Any, chip: str, images: Sequence[FlashImage]) -> Iterator[tuple[str, str]]:
    encrypts = bool(esp.get_flash_encryption_enabled())
    low = min(images, key=lambda image: image.offset, default=None)
    if low is not None and low.offset < _BOOT_LOADER_END and esp.get_secure_boot_v1_enabled():
        yield (
            "secure-boot",
            f"this chip has secure boot V1, and {low.label} would replace its boot loader (below 0x8000), for good if "
            "it is not signed for this very chip",
        )
    if low is not None and low.offset < _KEY_RECOVERY_END and encrypts and esp.uses_key_manager_for_flash_encryption():
        yield "key-manager", f"{low.label} would overwrite what flash encryption recovers its key from (below 0x2000)"
    plain = [label for image in images for _, label, _ in what_boots(chip, image.offset, image.data, image.label)]
    if plain and encrypts and not esp.get_encrypted_download_disabled():
        yield (
            "flash-encryption",
            f"this chip encrypts its flash, and {plain[0]} is written plain: it would be read as if it were encrypted, "
            "and not start",
        )
    if images and encrypts and esp.get_encrypted_download_disabled():
        yield (
            "flash-encryption",
            "this chip encrypts its flash and takes no data to be encrypted any more: what is written plain does not "
            "start",
        )


def _other_revision(esp: Any, image: EspImage) -> str:
    """Why ``image`` is not for this revision of the chip; empty when it is (esptool, ``write_flash``)."""
    low, high, old = image.min_revision, image.max_revision, image.min_revision_old
    try:
        if high == 0 or (high == _ANY_REVISION and low == 0 and old):
            minor = esp.CHIP_NAME == "ESP32-C3"
            has = int(esp.get_minor_chip_version() if minor else esp.get_major_chip_version())
            return f"needs revision {old} or higher, this chip is of revision {has}" if has < old else ""
        has = int(esp.get_chip_revision())
    except NotImplementedInROMError:
        return ""
    if low <= has <= high:
        return ""
    most = "or higher" if high == _ANY_REVISION else f"to v{high // 100}.{high % 100}"
    return f"needs revision v{low // 100}.{low % 100} {most}, this chip is of revision v{has // 100}.{has % 100}"
