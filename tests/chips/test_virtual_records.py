"""The records of the virtual chips, held against esptool's own target classes."""

from __future__ import annotations

import pytest
from esptool.targets import CHIP_DEFS

from harness.chips import CHIPS, EsptoolView, virtual_chips
from harness.virtual.rom import MAGIC_REGISTER

MAC = bytes.fromhex("02aabbccddee")
ESP = [name for name in virtual_chips() if CHIPS[name].family == "esp32"]


def view_of(name: str) -> EsptoolView:
    parts = CHIPS[name].virtual
    assert parts is not None and parts.esptool is not None
    return parts.esptool


class Asked:
    """esptool's class of a chip, whose registers are those of a record."""

    def __init__(self, name: str, view: EsptoolView) -> None:
        registers = {MAGIC_REGISTER: view.magic, **view.registers, **view.mac_registers(MAC)}
        theirs = CHIP_DEFS[name]

        class Chip(theirs):  # type: ignore[misc, valid-type]
            def __init__(self) -> None:
                self.cache: dict[str, object] = {}

            def read_reg(self, address: int, timeout: float = 0) -> int:
                return registers.get(address, 0)

        self.chip = Chip()


@pytest.mark.parametrize("name", ESP)
def test_everything_is_where_esptool_looks_for_it(name: str) -> None:
    view, theirs = view_of(name), CHIP_DEFS[name]
    assert (view.spi_base, view.spi_usr2, view.spi_w0) == (
        theirs.SPI_REG_BASE,
        theirs.SPI_USR2_OFFS,
        theirs.SPI_W0_OFFS,
    )
    assert view.spi_address_shifted == theirs.SPI_ADDR_REG_MSB
    assert CHIPS[name].boot_offset == theirs.BOOTLOADER_FLASH_OFFSET
    assert CHIPS[name].image_id == theirs.IMAGE_CHIP_ID
    assert view.chip_id == (None if theirs.USES_MAGIC_VALUE else theirs.IMAGE_CHIP_ID)
    if view.rtc_watchdog is not None:
        assert view.rtc_watchdog == (
            theirs.RTC_CNTL_WDTWPROTECT_REG,
            theirs.RTC_CNTL_WDTCONFIG1_REG,
            theirs.RTC_CNTL_WDTCONFIG0_REG,
        )
    if theirs.USES_MAGIC_VALUE:
        assert view.magic == theirs.MAGIC_VALUE


@pytest.mark.parametrize("name", ESP)
def test_esptool_reads_mac_and_revision_out_of_the_fuses(name: str) -> None:
    view = view_of(name)
    chip = Asked(name, view).chip
    assert bytes(chip.read_mac()) == MAC
    assert "Unknown" not in chip.get_chip_description()
    assert "Unknown" not in " ".join(chip.get_chip_features())
    for major, minor in ((0, 1), (1, 0), (1, 3), (2, 2), (3, 3)):
        chip = Asked(name, view.burnt((), (major, minor))).chip
        assert chip.get_chip_revision() == 100 * major + minor


@pytest.mark.parametrize("name", ESP)
def test_esptool_sees_the_fuses_that_are_burnt(name: str) -> None:
    view = view_of(name)
    plain = Asked(name, view).chip
    assert not plain.get_flash_encryption_enabled() and not plain.get_encrypted_download_disabled()
    burnt = Asked(name, view.burnt(("flash-encryption", "no-encrypted-download"))).chip
    assert burnt.get_flash_encryption_enabled() and burnt.get_encrypted_download_disabled()
    secure = Asked(name, view.burnt(("secure-boot",))).chip
    assert secure.get_secure_boot_enabled() and not plain.get_secure_boot_enabled()


@pytest.mark.parametrize("name", ESP)
def test_a_revision_that_the_fuses_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"no {name} of revision v3\.16"):
        view_of(name).burnt((), (3, 16))


@pytest.mark.parametrize("name", ESP)
def test_every_start_has_a_word_of_the_rom(name: str) -> None:
    rom = view_of(name).rom
    assert rom is not None
    wanted = {"power-on", "external", "software", "bootloader", "deep-sleep", "watchdog", "task-watchdog", "brown-out"}
    assert wanted <= rom.reasons.keys()
