"""A chip that another package brings is a chip like any other: nothing of the harness is touched for it."""

from __future__ import annotations

import dataclasses
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.chips import CHIPS, KB
from harness.errors import Unsuitable, UsageError
from harness.flashing.stm32_sectors import device_of, sectors_of
from harness.formats.inspect_image import require_for
from harness.inventory.load import load_bench
from harness.inventory.schema import schema_text
from harness.reference.vm import ReferenceVm

MODULE = """
from dataclasses import replace
from harness.chips import CHIPS as KNOWN, Chip, Device, FlashGeometry, Geometry

GEOMETRY = FlashGeometry({0x4E1: Device(Geometry(8 * 1024, (1024, 1024, 6 * 1024)), 0x1FFF7590, 0x1FFF75E0)})
MADE_UP = Chip("stm32z9", "stm32", 0x0800_0000, ((0x0800_0000, 64 * 1024),), ((0x2000_0000, 32 * 1024),),
               port_unknown="it is made up", flash_geometry=GEOMETRY)
ESP = Chip("esp32z1", "esp32", 0x4000, ((0x4200_0000, 16 * 1024 * 1024),), image_id=77)
CHIPS = [MADE_UP, ESP]
TAKEN = Chip("esp32", "esp32", 0, ())
NO_CHIP = [MADE_UP, "z80"]
"""
BENCH = """
boards:
- id: one
  chip: {chip}
  runtime: micropython
  identity: {{usb_serial: A1}}
"""

Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a package on the path whose entry point is the given object of ``MODULE``."""

    def do(target: str) -> None:
        (tmp_path / "made_up_chips.py").write_text(MODULE)
        info = tmp_path / "made_up-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[harness.chips]\nmine = made_up_chips:{target}\n")
        monkeypatch.syspath_prepend(tmp_path)
        CHIPS.forget()

    yield do
    monkeypatch.undo()
    sys.modules.pop("made_up_chips", None)
    CHIPS.forget()


def write(folder: Path, chip: str) -> Path:
    file = folder / "boards.yaml"
    file.write_text(BENCH.format(chip=chip))
    return file


def test_a_bench_takes_it_and_images_and_sectors_are_checked_by_it(install: Install, tmp_path: Path) -> None:
    install("CHIPS")
    board = load_bench(write(tmp_path, "stm32z9")).boards[0]
    assert (board.flash_method, board.flash_size) == ("stm32-uart", 64 * KB)
    vectors = struct.pack("<2I", 0x2000_0000 + 32 * KB, 0x0800_0101) + bytes(0x200)
    assert require_for("stm32z9", 0x0800_0000, vectors, None).problems == ()
    with pytest.raises(UsageError):  # a stack that is in another chip's RAM
        require_for("stm32z9", 0x0800_0000, struct.pack("<2I", 0x2001_8000, 0x0800_0101) + bytes(0x200), None)
    sizes = [sector.size for sector in sectors_of("stm32z9", device_of("stm32z9", 0x4E1, "port"))]
    assert sizes == [1024, 1024, 6 * KB, *[8 * KB] * 7]
    with pytest.raises(UsageError, match="the chip's is 0x413, as of stm32f405 stm32f407"):
        device_of("stm32z9", 0x413, "port")
    assert load_bench(write(tmp_path, "esp32z1")).boards[0].flash_method == "esptool"
    assert '"stm32z9"' in schema_text()


def test_without_a_port_it_runs_as_a_generic_one(install: Install) -> None:
    install("MADE_UP")
    with pytest.raises(Unsuitable, match="what MicroPython's port promises of stm32z9 is not known: it is made up"):
        CHIPS["stm32z9"].promised()
    with ReferenceVm(chip="stm32z9") as vm:
        assert vm.run("print(6 * 7)").stdout == b"42\r\n"


def test_a_typo_is_answered_with_its_name(install: Install, tmp_path: Path) -> None:
    install("MADE_UP")
    with pytest.raises(UsageError, match="nearest valid chip is 'stm32z9'"):
        load_bench(write(tmp_path, "stm32z8"))


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("TAKEN", "the package made-up 1.2 brings a chip 'esp32', which the harness itself has already"),
        ("NO_CHIP", "the package made-up 1.2 .*expected a harness.chips.Chip or a list of them; came str"),
        ("MODULE_IS_GONE", "the package made-up 1.2 .*cannot be loaded: AttributeError"),
    ],
)
def test_a_package_that_is_wrong_is_named(install: Install, target: str, told: str) -> None:
    install(target)
    with pytest.raises(UsageError, match=told):
        len(CHIPS)


def test_a_chip_without_geometry_is_not_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = dataclasses.replace(CHIPS["stm32f405"], flash_geometry=None)
    monkeypatch.setattr(CHIPS, "_chips", {**CHIPS, "stm32f405": bare})
    with pytest.raises(UsageError, match="how the flash of the stm32f405 is cut into sectors is not known"):
        device_of("stm32f405", 0x413, "port")
