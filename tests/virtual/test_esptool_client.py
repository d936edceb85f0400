"""The unmodified esptool command line against the virtual chips."""

import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.virtual.bench import RunningBoard, VirtualSpec, start
from tests.running_boards import tool, wait_for_vm

FLASH_SIZE = 4 * 1024 * 1024
#: What esptool calls each chip, and the word that it is told by where it does not give its number.
CALLED = {
    "esp8266": ("ESP8266EX", "0xfff0c101"),
    "esp32": ("ESP32-D0WD-V3 (revision v3.0)", "0x00f01d83"),
    "esp32s3": ("ESP32-S3 (QFN56) (revision v0.2)", "0x00000009"),
    "esp32c3": ("ESP32-C3 (QFN32) (revision v0.4)", "0x1b31506f"),
}


@pytest.fixture(scope="module", params=CALLED)
def blank(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBoard]:
    """A chip with erased flash."""
    spec = VirtualSpec(f"b{request.param}", request.param, str(tmp_path_factory.mktemp("blank")))
    with start(spec) as board:
        yield board


def flash_of(board: RunningBoard) -> bytes:
    assert board.pty
    return (Path(board.pty).parent / f"{board.id}.flash").read_bytes()


def noise(size: int, seed: int) -> bytes:
    """Half random and half constant: compresses some, as firmware does."""
    return random.Random(seed).randbytes(size // 2) + bytes(size - size // 2)


def esptool(board: RunningBoard, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    assert board.pty
    return tool("esptool", "--port", board.pty, *arguments, check=check)


def test_it_is_what_it_says(blank: RunningBoard) -> None:
    output = esptool(blank, "flash-id").stdout
    name, magic = CALLED[blank.id.removeprefix("b")]
    assert name in output
    assert "Detected flash size: 4MB" in output
    assert "Manufacturer: ef" in output
    assert re.search(r"MAC:\s+02(:[0-9a-f]{2}){5}", output)
    assert "MAC:" in esptool(blank, "read-mac").stdout
    assert "MAC:" in esptool(blank, "chip-id").stdout
    assert magic in esptool(blank, "read-mem", "0x40001000").stdout


@pytest.mark.parametrize("stub", [True, False])
def test_several_segments_are_written_verified_and_read_back(blank: RunningBoard, tmp_path: Path, stub: bool) -> None:
    first, second = tmp_path / "a.bin", tmp_path / "b.bin"
    first.write_bytes(noise(30_001, 1))
    second.write_bytes(noise(9_000, 2))
    how = [] if stub else ["--no-stub"]
    esptool(blank, *how, "write-flash", "0x10000", str(first), "0x40000", str(second))
    data = flash_of(blank)
    assert data[0x10000 : 0x10000 + 30_001] == first.read_bytes()
    assert data[0x40000 : 0x40000 + 9_000] == second.read_bytes()
    if stub:
        esptool(blank, "verify-flash", "0x10000", str(first))
        back = tmp_path / "back.bin"
        esptool(blank, "read-flash", "0x10000", "30001", str(back))
        assert back.read_bytes() == first.read_bytes()
        second.write_bytes(noise(9_000, 3))
        wrong = esptool(blank, "verify-flash", "0x40000", str(second), check=False)
        assert wrong.returncode != 0


def test_uncompressed_and_at_another_baud_rate(blank: RunningBoard, tmp_path: Path) -> None:
    file = tmp_path / "c.bin"
    file.write_bytes(noise(20_000, 4))
    esptool(blank, "--baud", "921600", "write-flash", "--no-compress", "0x80000", str(file))
    assert flash_of(blank)[0x80000 : 0x80000 + 20_000] == file.read_bytes()


def test_erasing_a_region_leaves_the_rest(blank: RunningBoard, tmp_path: Path) -> None:
    file = tmp_path / "d.bin"
    file.write_bytes(noise(12_288, 5))
    esptool(blank, "write-flash", "0x100000", str(file))
    esptool(blank, "erase-region", "0x101000", "0x1000")
    data = flash_of(blank)
    assert data[0x100000:0x101000] == file.read_bytes()[:0x1000]
    assert data[0x101000:0x102000] == b"\xff" * 0x1000
    assert data[0x102000:0x103000] == file.read_bytes()[0x2000:0x3000]


def test_erase_all_and_erase_flash(blank: RunningBoard, tmp_path: Path) -> None:
    file = tmp_path / "e.bin"
    file.write_bytes(noise(5_000, 6))
    esptool(blank, "write-flash", "0x200000", str(file))
    esptool(blank, "write-flash", "--erase-all", "0x300000", str(file))
    data = flash_of(blank)
    assert data[0x200000 : 0x200000 + 5_000] == b"\xff" * 5_000
    assert data[0x300000 : 0x300000 + 5_000] == file.read_bytes()
    esptool(blank, "erase-flash")
    assert flash_of(blank) == b"\xff" * FLASH_SIZE


def test_unchanged_content_is_skipped(blank: RunningBoard, tmp_path: Path) -> None:
    file = tmp_path / "s.bin"
    file.write_bytes(noise(20_000, 8))
    assert "Wrote" in esptool(blank, "write-flash", "--skip-flashed", "0x90000", str(file)).stdout
    again = esptool(blank, "write-flash", "--skip-flashed", "0x90000", str(file)).stdout
    assert "Wrote" not in again
    assert "skip" in again.lower()


def test_the_roms_slow_read_returns_what_was_written(blank: RunningBoard, tmp_path: Path) -> None:
    file, back = tmp_path / "r.bin", tmp_path / "back.bin"
    file.write_bytes(noise(3_000, 9))
    esptool(blank, "write-flash", "0xa0000", str(file))
    done = esptool(blank, "--no-stub", "read-flash", "0xa0000", "3000", str(back), check=False)
    if "esp8266" in blank.id:  # its ROM has no read command
        assert done.returncode == 2
        assert "does not support function read_flash_slow" in done.stdout + done.stderr
    else:
        assert done.returncode == 0
        assert back.read_bytes() == file.read_bytes()


def test_the_chip_can_be_left_in_every_way(blank: RunningBoard) -> None:
    for arguments in (("--after", "no-reset", "chip-id"), ("--after", "no-reset-stub", "chip-id"), ("run",)):
        esptool(blank, *arguments)
    assert "MAC:" in esptool(blank, "--no-stub", "read-mac").stdout


def test_the_rom_refuses_what_only_the_stub_can(tmp_path_factory: pytest.TempPathFactory) -> None:
    with start(VirtualSpec("rom", "esp32", str(tmp_path_factory.mktemp("rom")))) as board:
        refused = esptool(board, "--no-stub", "erase-flash", check=False)
    assert refused.returncode == 2
    assert "does not support function erase_flash" in refused.stdout + refused.stderr


def test_the_reset_lines_work_over_rfc2217(vesp32: RunningBoard, firmware_files: dict[str, Path]) -> None:
    """esptool's own reset sequence reaches download mode, and the application starts afterwards."""
    # The rate is changed on the way: the ROM's own rate follows its crystal, and a line that the two ends
    # disagree about carries nothing.
    done = tool("esptool", "--port", vesp32.url, "--no-stub", "--baud", "460800", "read-mac")
    assert "Connected to ESP32" in done.stdout
    assert re.search(r"Changing baud rate to 460800.*Changed\..*", done.stdout, re.DOTALL)
    assert tool("mpremote", "connect", vesp32.url, "exec", "print(6 * 7)").stdout.strip() == "42"


@pytest.mark.parametrize("chip", [name for name in CALLED if name not in ("esp8266", "esp32")])
def test_a_newer_chip_on_uart_is_reset_programmed_and_started(
    chip: str, tmp_path: Path, firmware_files: dict[str, Path]
) -> None:
    """Its image is at its own offset with its own number; a devkit's two transistors reset it."""
    with start(VirtualSpec(f"n{chip}", chip, str(tmp_path))) as board:
        other = esptool(board, "write-flash", "0x0", str(firmware_files["esp32"]), check=False)
        assert other.returncode == 2
        assert f"not an {CALLED[chip][0].split(' (')[0]} image" in re.sub(r"\s+", " ", other.stdout + other.stderr)
        assert flash_of(board).strip(b"\xff") == b""
        done = tool("esptool", "--port", board.url, "--baud", "921600", "write-flash", "0x0", str(firmware_files[chip]))
        assert "Hash of data verified" in done.stdout
        wait_for_vm(board)
        name = CALLED[chip][0].split(" (")[0].replace("-", "")
        said = tool("mpremote", "connect", board.url, "exec", "import os; print(os.uname().machine)").stdout
        assert said.strip() == f"virtual {name} board with {name}"


def test_a_chip_is_reset_by_its_watchdog(tmp_path: Path, firmware_files: dict[str, Path]) -> None:
    """Where no line leads to the reset input, a loader arms the RTC's watchdog."""
    with start(VirtualSpec("wdt", "esp32c3", str(tmp_path))) as board:
        esptool(board, "write-flash", "0x0", str(firmware_files["esp32c3"]))
        left = tool("esptool", "--port", board.url, "--after", "watchdog-reset", "chip-id")
        assert "Hard resetting with a watchdog" in left.stdout
        cause = "import machine; print(machine.reset_cause() == machine.WDT_RESET)"
        assert tool("mpremote", "connect", board.url, "resume", "exec", cause).stdout.strip() == "True"
