"""What may not be written to an ESP, held against esptool's own command line: where it refuses, so does the harness."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.flashing.esp import EspFlasher
from harness.flashing.esp_safety import refuse_unsafe
from harness.flashing.flasher import FlashImage
from harness.formats.esp_image import build_esp32, build_esp8266
from harness.link.ports import open_port
from harness.virtual.bench import RunningBoard, VirtualSpec, start
from tests.running_boards import tool

MB = 1024 * 1024
BLANK = b"\xff" * (4 * MB)
DATA = b"plain data" * 100


def boot_loader(**how: object) -> bytes:
    return build_esp32([(0x4008_0400, bytes(64))], entry=0x4008_0400, **how)  # type: ignore[arg-type]


def flash_of(board: RunningBoard) -> bytes:
    assert board.pty
    return (Path(board.pty).parent / f"{board.id}.flash").read_bytes()


def esptool_refuses(board: RunningBoard, offset: int, file: Path) -> str:
    """What esptool's command line says against it; empty when it writes it."""
    assert board.pty
    done = tool("esptool", "--port", board.pty, "write-flash", hex(offset), str(file), check=False)
    return done.stdout + done.stderr if done.returncode else ""


def ours(board: RunningBoard, offset: int, data: bytes, override: dict[str, str] | None = None) -> list[str]:
    port = open_port(board.url)
    try:
        with EspFlasher("esp32", port, override=override) as flasher:
            return flasher.write(
                [FlashImage(0x200000, b"\xaa" * 4096, "first"), FlashImage(offset, data, "second")]
            ).warnings
    finally:
        port.close()


@pytest.mark.parametrize(
    ("fuses", "revision", "offset", "data", "check", "theirs", "said"),
    [
        (("secure-boot",), None, 0x1000, boot_loader(), "secure-boot", "Secure Boot V1", "replace its boot loader"),
        (
            ("flash-encryption", "no-encrypted-download"),
            None,
            0x10000,
            DATA,
            "flash-encryption",
            "Flashing plaintext",
            "encrypts its flash",
        ),
        ((), (1, 0), 0x1000, boot_loader(revisions=(300, 399)), "image-revision", "requires chip", "v3.0 to v3.99"),
        ((), (3, 1), 0x1000, boot_loader(revisions=(0, 199)), "image-revision", "or lower", "revision v3.1"),
        ((), None, 0x1000, boot_loader(chip_id=9), "image-chip", "not an ESP32 image", "an image for esp32s3"),
    ],
    ids=["secure-boot", "flash-encryption", "newer", "older", "chip"],
)  # fmt: skip
def test_what_esptool_refuses_is_refused_before_anything_is_erased(
    tmp_path: Path,
    fuses: tuple[str, ...],
    revision: tuple[int, int] | None,
    offset: int,
    data: bytes,
    check: str,
    theirs: str,
    said: str,
) -> None:
    file = tmp_path / "image.bin"
    file.write_bytes(data)
    with start(VirtualSpec("b", "esp32", str(tmp_path), app="echo", fuses=fuses, revision=revision)) as board:
        assert theirs in esptool_refuses(board, offset, file)
        with pytest.raises(UsageError, match=said) as caught:
            ours(board, offset, data)
        assert f"flash.override: {{{check}:" in str(caught.value)
        with pytest.raises(UsageError, match=said):  # another check's override is none for this one
            ours(board, offset, data, {"declared-flash-size": "a reason"})
        assert flash_of(board) == BLANK
        warnings = ours(board, offset, data, {check: "agreed with the owner"})
        assert any(f"flash.override {check} (agreed with the owner)" in line for line in warnings)
        assert flash_of(board)[offset : offset + len(data)] == data


def test_what_esptool_writes_is_written(tmp_path: Path) -> None:
    """Secure boot spares what lies behind the boot loader; encryption that still takes plain data is no reason."""
    file = tmp_path / "image.bin"
    file.write_bytes(DATA)
    fuses = ("secure-boot", "flash-encryption")
    with start(VirtualSpec("b", "esp32", str(tmp_path), app="echo", fuses=fuses)) as board:
        assert esptool_refuses(board, 0x10000, file) == ""
        ours(board, 0x10000, DATA + b"more")
        assert flash_of(board)[0x10000 : 0x10000 + len(DATA) + 4] == DATA + b"more"


@pytest.mark.parametrize("offset", [0x1000, 0x10000])
def test_a_chip_that_encrypts_gets_nothing_plain_that_starts(tmp_path: Path, offset: int) -> None:
    """esptool writes it, for it may be asked to have it encrypted by the chip; the harness never asks for that."""
    with start(VirtualSpec("b", "esp32", str(tmp_path), app="echo", fuses=("flash-encryption",))) as board:
        with pytest.raises(UsageError, match="encrypts its flash, and second is written plain") as caught:
            ours(board, offset, boot_loader())
        assert "flash.override: {flash-encryption:" in str(caught.value)
        assert flash_of(board) == BLANK
        ours(board, offset, boot_loader(), {"flash-encryption": "its key is burnt and it is off"})
        assert flash_of(board)[offset : offset + 4] == boot_loader()[:4]


@pytest.mark.parametrize(
    ("chip", "build", "offset"), [("esp32", build_esp32, 0x1000), ("esp8266", build_esp8266, 0)]
)  # fmt: skip
def test_a_header_that_declares_more_flash_than_there_is(
    tmp_path: Path, chip: str, build: Callable[..., bytes], offset: int
) -> None:
    image = build([(0x4010_0000, bytes(64))], entry=0x4010_0000, flash_size=16 * MB)
    with start(VirtualSpec("b", chip, str(tmp_path), app="echo")) as board:
        port = open_port(board.url)
        with (
            EspFlasher(chip, port) as flasher,
            pytest.raises(UsageError, match="declares 0x1000000 bytes of flash, this chip has 0x400000"),
        ):
            flasher.write([FlashImage(offset, image, "image")])
        port.close()
        assert flash_of(board) == BLANK


@dataclasses.dataclass
class Fake:
    """An ESP32-C3 of revision 0.3, as esptool shows it."""

    CHIP_NAME = "ESP32-C3"
    key_manager: bool = False
    old: int = 3

    def get_flash_encryption_enabled(self) -> bool:
        return self.key_manager

    def uses_key_manager_for_flash_encryption(self) -> bool:
        return self.key_manager

    def get_secure_boot_v1_enabled(self) -> bool:
        return False

    def get_encrypted_download_disabled(self) -> int:
        return 0

    def get_minor_chip_version(self) -> int:
        return self.old

    def get_chip_revision(self) -> int:
        return self.old


def image_of_before(revision: int) -> bytes:
    """An image without the newer fields of the revision."""
    image = bytearray(boot_loader(chip_id=5, revisions=(0, 0)))
    image[14] = revision
    return bytes(image)


@pytest.mark.parametrize(("needs", "refused"), [(3, False), (4, True)])
def test_the_older_field_counts_the_minor_revision_of_a_c3(needs: int, refused: bool) -> None:
    images = [FlashImage(0, image_of_before(needs), "boot loader")]
    if not refused:
        assert refuse_unsafe(Fake(), "esp32c3", images, 4 * MB, {}) == []
        return
    with pytest.raises(UsageError, match="needs revision 4 or higher, this chip is of revision 3"):
        refuse_unsafe(Fake(), "esp32c3", images, 4 * MB, {})


def test_the_key_managers_recovery_data_is_kept() -> None:
    with pytest.raises(UsageError, match="recovers its key"):
        refuse_unsafe(Fake(key_manager=True), "esp32c5", [FlashImage(0x1000, b"data", "data")], 4 * MB, {})
    assert refuse_unsafe(Fake(key_manager=True), "esp32c5", [FlashImage(0x2000, b"data", "data")], 4 * MB, {}) == []


def test_an_application_for_other_revisions_would_not_be_started() -> None:
    """esptool only notes it; the boot loader refuses it."""
    application = boot_loader(chip_id=5, revisions=(100, 0xFFFF))
    with pytest.raises(
        UsageError, match=r"app at 0x10000 needs revision v1.0 or higher, this chip is of revision v0.3"
    ):
        refuse_unsafe(Fake(), "esp32c3", [FlashImage(0x10000, application, "app")], 4 * MB, {})
