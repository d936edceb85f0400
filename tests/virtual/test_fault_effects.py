"""Faults of flash and start strike every kind of firmware where it has its code, its version and its files."""

import random

import pytest

from harness.bench.checked_firmware import firmware_of
from harness.chips import CHIPS as ALL_CHIPS
from harness.inventory.load import load_bench
from harness.paths import shipped_bench
from harness.virtual.boot import boot
from harness.virtual.fault_effects import at_boot, decay
from harness.virtual.faults import Fault, Faults
from harness.virtual.nor_flash import Flash
from harness.virtual.serial_chip import Boot
from harness.virtual.stm32.stm32_boot import boot as boot_stm32

CHIPS = {chip.name: chip.virtual.stm32 for chip in ALL_CHIPS.values() if chip.virtual and chip.virtual.stm32}

BOARDS = {board.id: board for board in load_bench(shipped_bench()).boards}


class Nobody:
    """A bench that no fault does anything to."""

    downloading = False

    def deliver(self, data: bytes) -> None: ...
    def feed(self, data: bytes) -> None: ...
    def glitch(self, reason: str) -> None: ...
    def lose_port(self, seconds: float | None, renamed: bool) -> None: ...
    def decay(self, *, stuck: bool, chance: random.Random) -> None: ...


def flashed(name: str) -> tuple[Flash, str]:
    board = BOARDS[name]
    base = 0x0800_0000 if board.chip.startswith("stm32") else 0
    flash = Flash(CHIPS[board.chip].flash_size if base else 4 * 1024 * 1024)
    firmware = firmware_of(board, None, lambda *_: None)
    assert firmware is not None
    for image in firmware.images:
        flash.program(image.offset - base, image.data)
    return flash, board.chip


def started(flash: Flash, chip: str) -> Boot:
    return boot_stm32(CHIPS[chip], flash) if chip.startswith("stm32") else boot(chip, flash, "power-on")


@pytest.mark.parametrize("name", BOARDS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rot_hits_the_code_and_the_board_does_not_start(name: str, seed: int) -> None:
    flash, chip = flashed(name)
    assert started(flash, chip).payload is not None
    decay(flash, stuck=False, chance=random.Random(seed))
    assert started(flash, chip).payload is None


def test_a_chip_without_firmware_has_nothing_to_lose() -> None:
    flash = Flash(4 * 1024 * 1024)
    decay(flash, stuck=True, chance=random.Random(1))
    assert not flash.stuck


@pytest.mark.parametrize("name", BOARDS)
def test_the_firmware_says_another_version_of_the_same_length(name: str) -> None:
    flash, chip = flashed(name)
    found = started(flash, chip)
    before = found.payload
    assert before is not None
    _, after = at_boot(Faults(Nobody(), (Fault("wrong-version"),)), flash, found)
    assert after != before and len(after) == len(before)
