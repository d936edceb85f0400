"""Flashing through the STM32 boot loader, against virtual chips over RFC 2217 and over a pseudo-terminal."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import serial
from stm32loader.bootloader import Stm32Bootloader

from harness.errors import BenchFault, UsageError
from harness.flashing.flasher import FlashImage, FlashReport
from harness.flashing.stm32_uart import Stm32UartFlasher
from harness.link.ports import open_port
from harness.virtual.bench import RunningBoard, VirtualSpec, start

BASE = 0x0800_0000
CONTENT = bytes(range(256)) * 20 + b"the odd end"


@contextmanager
def serving(folder: Path, chip: str = "stm32f405", *lines: str, pace: str = "fast") -> Iterator[RunningBoard]:
    with start(VirtualSpec("s", chip, str(folder), app="echo", pace=pace, lines=lines)) as board:
        yield board


@contextmanager
def flashing(address: str, chip: str = "stm32f405", **options: Any) -> Iterator[Stm32UartFlasher]:
    port = open_port(address, rts=True)
    try:
        with Stm32UartFlasher(chip, port, **{"connect_attempts": 1, **options}) as flasher:
            yield flasher
    finally:
        port.close()


def write(address: str, data: bytes, chip: str = "stm32f405", at: int = BASE, **options: Any) -> FlashReport:
    with flashing(address, chip, **options) as flasher:
        return flasher.write([FlashImage(at, data, "image.bin")])


def flash_of(folder: Path) -> bytes:
    return (folder / "s.flash").read_bytes()


def command(address: str, run: Any) -> None:
    """Tell the boot loader something that the harness never does by itself."""
    with flashing(address) as flasher:
        run(flasher._loader)


@pytest.mark.parametrize("chip", ["stm32f405", "stm32l476"])
def test_only_the_sectors_that_differ_are_written_and_the_rest_is_kept(chip: str, tmp_path: Path) -> None:
    image = bytearray(CONTENT * 5)
    with serving(tmp_path, chip) as board:
        first = write(board.url, bytes(image), chip)
        again = write(board.url, bytes(image), chip)
        image[20_000] ^= 0xFF  # in the second sector of 16 KB, the tenth page of 2 KB
        changed = write(board.url, bytes(image), chip)
        assert first.written >= len(image)
        assert (again.written, again.unchanged) == (0, len(image))
        assert "erase" not in dict(again.steps)
        assert 0 < changed.written <= 16 * 1024
        assert flash_of(tmp_path)[: len(image)] == image
        assert len(first.identity.uid) == 24
        assert first.identity.flash_size == 1 << 20


def test_what_no_image_covers_in_an_erased_sector_is_kept(tmp_path: Path) -> None:
    with serving(tmp_path) as board:
        write(board.url, b"settings", at=BASE + 0x3F00)
        write(board.url, CONTENT)
        write(board.url, CONTENT[::-1])
        assert flash_of(tmp_path)[: len(CONTENT)] == CONTENT[::-1]
        assert flash_of(tmp_path)[0x3F00:0x3F08] == b"settings"


def test_a_pseudo_terminal_without_parity_and_lines_will_do(tmp_path: Path) -> None:
    with serving(tmp_path) as board:
        assert board.pty
        assert write(board.pty, CONTENT).written
        assert write(board.pty, CONTENT).written == 0


@pytest.mark.parametrize("lines", [("reset-inverted",), ("swapped", "boot0-inverted")])
def test_lines_that_are_wired_otherwise_reach_when_boards_yaml_says_so(lines: tuple[str, ...], tmp_path: Path) -> None:
    with serving(tmp_path, "stm32f405", *lines) as board, flashing(board.url, lines=lines) as flasher:
        assert flasher.identity.uid


def test_the_port_has_its_console_settings_again(tmp_path: Path) -> None:
    with serving(tmp_path) as board:
        port = open_port(board.url, rts=True)
        with Stm32UartFlasher("stm32f405", port, console_baud=9600):
            assert port.parity == "E"
        assert (port.parity, port.baudrate, port.timeout) == ("N", 9600, 0.1)
        port.close()


def test_a_program_in_place_of_the_lines_is_told_where_to_start_from(tmp_path: Path) -> None:
    told = tmp_path / "told"
    program = ("/bin/sh", "-c", f'echo "$0" >> {told}')
    with serving(tmp_path) as board:
        assert board.pty  # which has no lines; its chip takes the first 0x7F for a button held
        with flashing(board.pty, boot_command=program) as flasher:
            assert flasher.identity.uid
        assert told.read_text().split() == ["boot-loader", "application"]
        with pytest.raises(BenchFault, match="cannot be reset: /bin/sh ended with 3: no such pin"):
            write(board.pty, CONTENT, boot_command=("/bin/sh", "-c", "echo no such pin >&2; exit 3"))


# -- refused, and nothing erased -------------------------------------------------------------------


@pytest.fixture
def written(tmp_path: Path) -> Iterator[RunningBoard]:
    """A chip that holds something; in the end it must hold it still."""
    with serving(tmp_path) as board:
        write(board.url, CONTENT)
        before = flash_of(tmp_path)
        yield board
        assert flash_of(tmp_path) == before


@pytest.mark.parametrize("chip", ["stm32l476", "stm32f411"])
def test_another_chip_is_refused(chip: str, written: RunningBoard) -> None:
    with pytest.raises(UsageError, match=f"expected an {chip} .*; the chip's is 0x413, as of stm32f405 stm32f407"):
        write(written.url, bytes(100), chip)


def test_a_device_id_that_the_line_changed_is_the_lines_fault(
    written: RunningBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = iter([0x415])
    read = Stm32Bootloader.get_id
    monkeypatch.setattr(Stm32Bootloader, "get_id", lambda self: next(told, None) or read(self))
    with pytest.raises(BenchFault, match="it said 0x415, then 0x413"):
        write(written.url, bytes(100), "stm32f405")


@pytest.mark.parametrize(
    ("at", "size", "message"),
    [
        (BASE + (1 << 20) - 8, 16, "this chip's flash is 0x08000000 to 0x08100000"),
        (0x0, 16, "this chip's flash is"),
        (BASE + 4, 16, "inside a double word"),
    ],
)
def test_an_image_outside_the_flash_is_refused(at: int, size: int, message: str, written: RunningBoard) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        write(written.url, bytes(size), at=at)
    assert "nothing was erased" in str(caught.value)


@pytest.mark.parametrize("difference", ["boot0-unwired", "reset-inverted"])
def test_boot0_that_does_not_reach_is_one_clear_error(difference: str, tmp_path: Path) -> None:
    with serving(tmp_path, "stm32f405", difference) as board, pytest.raises(BenchFault) as caught:
        write(board.url, CONTENT)
    assert "step 'connect': the boot loader was asked with 0x7F" in str(caught.value)
    assert "BOOT0" in caught.value.hint
    assert "Nothing was erased" in caught.value.hint
    assert flash_of(tmp_path) == b"\xff" * (1 << 20)


def test_a_chip_protected_against_readout_is_left_alone(written: RunningBoard, tmp_path: Path) -> None:
    command(written.url, lambda loader: loader.readout_protect())
    with pytest.raises(UsageError, match="protected against readout") as caught:
        write(written.url, bytes(64))
    assert "flash.unprotect: true" in str(caught.value)


def test_a_command_that_was_damaged_once_is_no_protection(tmp_path: Path) -> None:
    """The chip refuses it by the same byte; with ``unprotect`` the whole flash would be erased for it."""
    with serving(tmp_path) as board:
        write(board.url, b"kept", at=BASE + 0x8_0000)
        for unprotect in (False, True):
            board.fault(kind="flip", direction="to-board", rate=1.0, count=1, behind="\x02\xfd")  # behind Get ID
            report = write(board.url, CONTENT, unprotect=unprotect)
            assert board.faults == {"flip": 1 + unprotect} and not report.warnings
        assert flash_of(tmp_path)[0x8_0000:][:4] == b"kept"


# -- protection lifted on purpose ------------------------------------------------------------------


def test_readout_protection_is_lifted_when_that_is_allowed(tmp_path: Path) -> None:
    with serving(tmp_path) as board:
        write(board.url, b"a secret", at=BASE + 0x8_0000)
        command(board.url, lambda loader: loader.readout_protect())
        report = write(board.url, CONTENT, unprotect=True)
        assert report.warnings == ["the readout protection was lifted; the chip erased its whole flash"]
        assert flash_of(tmp_path) == CONTENT.ljust(1 << 20, b"\xff")


@pytest.mark.parametrize(("chip", "sector"), [("stm32f405", 16384), ("stm32l476", 2048)])
def test_write_protection_is_found_before_anything_is_written(chip: str, sector: int, tmp_path: Path) -> None:
    with serving(tmp_path, chip) as board:
        write(board.url, CONTENT, chip)
        with flashing(board.url, chip) as flasher:
            flasher._loader.write_protect([0])
        with pytest.raises(UsageError, match="sectors 0 were to be erased and hold what they held") as caught:
            write(board.url, CONTENT[::-1], chip)
        assert "flash.unprotect: true" in caught.value.hint
        assert flash_of(tmp_path)[: min(sector, len(CONTENT))] == CONTENT[:sector]
        report = write(board.url, CONTENT[::-1], chip, unprotect=True)
        assert report.warnings == ["the write protection was lifted"]
        assert flash_of(tmp_path)[: len(CONTENT)] == CONTENT[::-1]


# -- lines that fail -------------------------------------------------------------------------------


class Failing:
    """A port whose line fails when so many bytes have been sent: cut, or one byte of an answer changed."""

    def __init__(self, port: serial.SerialBase, after: int, how: str) -> None:
        vars(self).update(_port=port, _left=after, _how=how)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._port, name, value)

    def write(self, data: bytes) -> Any:
        vars(self)["_left"] -= len(data)
        if self._left < 0 and self._how == "cut":
            raise serial.SerialException("the adapter is gone")
        return self._port.write(data[1:] if self._left < 0 and self._how == "lost" else data)

    def read(self, size: int = 1) -> bytes:
        data: bytes = self._port.read(size)
        return b"\x55" + data[1:] if self._left < 0 and self._how == "damaged" else data


@pytest.mark.parametrize(("how", "after"), [("damaged", 30), ("lost", 400), ("lost", 3000), ("cut", 3000)])
def test_a_line_that_fails_is_a_fault_of_the_bench_and_the_next_run_writes(
    how: str, after: int, tmp_path: Path
) -> None:
    with serving(tmp_path) as board:
        port = open_port(board.url, rts=True)
        line = Failing(port, after, how)
        with (
            pytest.raises(BenchFault, match="flashing failed at step"),
            Stm32UartFlasher("stm32f405", line, connect_attempts=1) as flasher,
        ):
            flasher.write([FlashImage(BASE, CONTENT, "image.bin")])
        port.close()
        assert write(board.url, CONTENT).written
        assert flash_of(tmp_path)[: len(CONTENT)] == CONTENT


def test_power_that_fails_in_the_middle_is_made_good_by_the_next_run(tmp_path: Path) -> None:
    with serving(tmp_path) as board:
        cut = threading.Event()

        def report(step: str, done: int, total: int) -> None:
            if step == "write" and done > total / 2 and not cut.is_set():
                cut.set()
                board.power(on=False)

        with pytest.raises(BenchFault, match="step 'write'"):
            write(board.url, CONTENT, progress=report)
        board.power(on=True)
        assert write(board.url, CONTENT).written
        assert flash_of(tmp_path)[: len(CONTENT)] == CONTENT
