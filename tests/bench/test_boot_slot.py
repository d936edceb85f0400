"""Which of its applications an ESP32 starts, told by what its flash holds and not by a version's text."""

import binascii
import hashlib
import struct
from pathlib import Path

import pytest

from harness.bench.attach import Options, attach
from harness.bench.boot_slot import another_application, applications, partitions_of, unconfirmed_update
from harness.bench.real_device import RealDevice
from harness.errors import FinalFault
from harness.flashing.esp import EspFlasher
from harness.flashing.flasher import FlashImage
from harness.formats import app_desc
from harness.formats.app_desc import AppDesc
from harness.formats.esp_image import build_esp32
from harness.formats.inspect_image import inspect, require_for
from harness.formats.partitions import Partition, build_table
from harness.formats.virtual_image import PAYLOAD_MAGIC, build
from harness.inventory.load import load_bench
from harness.link.ports import open_port
from harness.runtimes.micropython import ask_who
from harness.virtual.bench import VirtualSpec, start

MB = 1024 * 1024
BOOT = build_esp32([(0x4008_0400, bytes(0x6000))], entry=0x4008_0400)
ROWS = (
    Partition("otadata", 1, 0, 0x11000, 0x2000),
    Partition("ota_0", 0, 0x10, 0x20000, 0x100000),
    Partition("ota_1", 0, 0x11, 0x120000, 0x100000),
    Partition("romfs", 1, 0x8F, 0x220000, 0x20000),
)
SECOND = struct.pack("<I20xII", 2, 0xFFFFFFFF, binascii.crc32(struct.pack("<I", 2), 0xFFFFFFFF))
BENCH = """
boards:
  - id: b
    chip: esp32
    runtime: micropython
    identity: {{url: "{url}"}}
    capabilities: [romfs]
    firmware:
      images:
        - {{path: boot.bin, offset: 0x1000}}
        - {{path: table.bin, offset: {table}}}
        - {{path: app.bin, offset: 0x20000}}
"""


def application(build: str, version: str = "3.2-product") -> bytes:
    """Each is of the same version: only its build tells it."""
    desc = AppDesc(version, "product", "12:00:00", "Jan  1 2026", "v5.4", binascii.crc32(build.encode()).to_bytes(32))
    return build_esp32([(0x3F40_0020, app_desc.build(desc) + build.encode() * 100)], entry=0x4008_0400)


class Flash:
    def __init__(self, content: dict[int, bytes]) -> None:
        self.content = bytearray(b"\xff" * 4 * MB)
        for offset, data in content.items():
            self.content[offset : offset + len(data)] = data

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.content[offset : offset + size])


@pytest.mark.parametrize(
    ("ota", "second", "told"),
    [
        (b"", application("old"), ""),
        (SECOND, application("old"), "starts partition 'ota_1' at 0x120000, which holds product 3.2-product"),
        (SECOND, application("new"), ""),  # the same build in both
        (SECOND, b"", ""),  # the boot loader goes on to the first
    ],
)
def test_another_build_in_the_slot_that_starts_is_told(ota: bytes, second: bytes, told: str) -> None:
    written = application("new")
    flash = Flash({0x10000: build_table(ROWS, 0x10000), 0x11000: ota, 0x20000: written, 0x120000: second})
    said = another_application(flash, "esp32", [FlashImage(0x20000, written, "app.bin")])
    assert told in said
    assert bool(said) == bool(told)
    if told:
        assert "was written to 0x20000" in said


def test_a_merged_image_names_its_applications() -> None:
    image = BOOT.ljust(0xF000, b"\xff") + build_table(ROWS, 0x10000)
    image = image.ljust(0x1F000, b"\xff") + application("new")
    images = [FlashImage(0x1000, image, "merged.bin")]
    assert list(applications("esp32", images)) == [0x20000]
    assert partitions_of(Flash({}), images) == ROWS
    info = require_for("esp32", 0x1000, image, 4 * MB)
    assert (info.kind, info.table_offset, info.version) == ("esp32-combined", 0x10000, "3.2-product")


def test_a_boot_loader_larger_than_the_usual_place_of_the_table() -> None:
    large = build_esp32([(0x4008_0400, bytes(0x9000))], entry=0x4008_0400)
    assert inspect(large).kind == "esp32-bootloader"
    assert inspect(large).problems == ()


def test_a_board_whose_other_slot_starts_is_told_before_its_vm_is_asked(tmp_path: Path) -> None:
    """Boot loader, table and application are written as files of their own, which leaves ``otadata`` as it is."""
    spec = VirtualSpec("v", "esp32", str(tmp_path / "virtual"), app="echo")
    spec.folder.mkdir()
    spec.flash_file.write_bytes(Flash({0x11000: SECOND, 0x120000: application("old")}).content)
    for name, data in {"boot": BOOT, "table": build_table(ROWS, 0x10000), "app": application("new")}.items():
        (tmp_path / f"{name}.bin").write_bytes(data)
    with start(spec) as virtual:
        (tmp_path / "boards.yaml").write_text(BENCH.format(url=virtual.url, table=0x10000))
        (board,) = load_bench(tmp_path / "boards.yaml").boards
        with pytest.raises(FinalFault, match=r"the chip starts partition 'ota_1' at 0x120000") as caught:
            attach(board, Options(tmp_path), lambda *_: None)
        assert "otadata" in caught.value.hint
        assert not (tmp_path / "health.json").exists()
        # The ROMFS region is read from the chip's table, wherever that is.
        port = open_port(virtual.url)
        with EspFlasher("esp32", port) as flasher:
            assert RealDevice(board).romfs_region(flasher, []) == (0x220000, 0x20000)
        port.close()


PRODUCT = """
boards:
  - id: b
    chip: esp32
    runtime: micropython
    identity: {{url: "{url}"}}
    firmware: {{path: product.bin}}
"""


def a_slot(digest: bytes) -> str:
    """In place of the question for the running partition, which a virtual board cannot answer."""
    told = f"ota_1 at 0x120000|{digest.hex()}"
    return f"print('\\x02{told}|{told}\\x03')"


def test_a_product_has_its_own_version_and_its_build_is_what_counts(
    tmp_path: Path, firmware_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    healthy = firmware_files["esp32"].read_bytes()
    at = healthy.index(PAYLOAD_MAGIC)
    (size,) = struct.unpack_from("<I", healthy, at + 8)
    payload = healthy[at + 12 : at + 12 + size]
    image = build("esp32", payload, version="3.2-product", project="product")
    (tmp_path / "product.bin").write_bytes(image)
    spec = VirtualSpec("v", "esp32", str(tmp_path / "virtual"), mac="24:0a:c4:00:00:02")
    with start(spec) as virtual:
        (tmp_path / "boards.yaml").write_text(PRODUCT.format(url=virtual.url))
        (board,) = load_bench(tmp_path / "boards.yaml").boards
        attached = attach(board, Options(tmp_path), lambda *_: None)
        assert "3.2-product" not in attached.facts.version
        assert attached.firmware.version == "3.2-product"
        monkeypatch.setattr(ask_who, "_SLOT", a_slot(hashlib.sha256(payload).digest()))
        attached.identify_again()
        monkeypatch.setattr(ask_who, "_SLOT", a_slot(hashlib.sha256(b"another").digest()))
        with pytest.raises(FinalFault, match=r"written was product 3.2-product .* in partition ota_1 at 0x120000"):
            attached.identify_again()
        attached.close()


@pytest.mark.parametrize(("state", "told"), [(0, True), (1, True), (2, False), (0xFFFFFFFF, False), (4, False)])
def test_an_update_that_is_not_confirmed_is_told(state: int, told: bool) -> None:
    """ESP_OTA_IMG_NEW, PENDING_VERIFY; VALID, UNDEFINED (no rollback in this boot loader), ABORTED."""
    ota = SECOND[:24] + struct.pack("<I", state) + SECOND[28:]
    flash = Flash({0x10000: build_table(ROWS, 0x10000), 0x11000: ota, 0x120000: application("new")})
    assert ("'ota_1' is new and not confirmed" in unconfirmed_update(flash, [])) is told
    assert unconfirmed_update(Flash({0x10000: build_table(ROWS, 0x10000)}), []) == ""
