"""A console that is the chip's own USB: DTR and RTS without transistors, and a port that comes and goes."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BenchFault, UsageError
from harness.flashing.esp import EspFlasher
from harness.flashing.flasher import FlashImage
from harness.link.coming_back import until_there
from harness.link.deadline import Deadline
from harness.link.ports import OpenPort, open_port
from harness.link.session import Session
from harness.power.reset import SEQUENCES, CustomReset
from harness.runtimes.interface import Intervention
from harness.runtimes.micropython.micropython_board import MicroPythonBoard
from harness.virtual.bench import RunningBoard, VirtualSpec, start
from harness.virtual.esp_chip import Chip
from harness.virtual.native_usb import DownloadLatch
from harness.virtual.nor_flash import Flash
from harness.virtual.serve import Echo
from tests.running_boards import tool, wait_for_vm, write_flash_file
from tests.virtual.chip_clients import MAC, Listener

#: (DTR, RTS) as esptool's three ways into the boot loader set them one after the other.
USB_RESET = [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]
CLASSIC_RESET = [(0, 0), (0, 1), (1, 1), (1, 0), (0, 0)]
HARD_RESET = [(0, 1), (0, 0)]
OPENED_BY_A_TERMINAL = [(1, 0), (1, 1), (0, 0)]

lines = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=20)


def done_by(latch: DownloadLatch, levels: list[tuple[int, int]]) -> list[str]:
    return [done for dtr, rts in levels if (done := latch.lines(dtr=bool(dtr), rts=bool(rts)))]


def test_the_units_own_sequence_reaches_download_mode_and_a_devkits_does_not() -> None:
    assert done_by(DownloadLatch(), USB_RESET) == ["reset", "download"]
    assert done_by(DownloadLatch(), CLASSIC_RESET) == ["reset", "application"]
    assert done_by(DownloadLatch(), HARD_RESET) == ["reset", "application"]
    assert done_by(DownloadLatch(), OPENED_BY_A_TERMINAL) == []


@given(lines)
def test_whatever_the_lines_do_a_chip_starts_once_for_each_reset(before: list[tuple[int, int]]) -> None:
    latch = DownloadLatch()
    done = done_by(latch, before)
    assert all(what == ("reset" if index % 2 == 0 else what) for index, what in enumerate(done))
    assert all(what in ("application", "download") for what in done[1::2])
    done_by(latch, [(0, 0)])
    # Nothing is left of what came before.
    assert done_by(latch, HARD_RESET) == ["reset", "application"]
    assert done_by(latch, USB_RESET) == ["reset", "download"]


def test_only_chips_with_the_unit_can_be_behind_it() -> None:
    for kind in ("esp32", "esp8266"):
        with pytest.raises(UsageError, match="no USB Serial/JTAG unit"):
            Chip(kind, Flash(4 << 20), MAC, Echo).put_behind("serial-jtag")
    Chip("esp32c3", Flash(4 << 20), MAC, Echo).put_behind("serial-jtag")


class Watched:
    """A chip behind its USB, with the changes of its device."""

    def __init__(self, chip: Chip, usb: str) -> None:
        self.chip = chip
        self.seen: list[bool] = []
        chip.put_behind(usb)  # type: ignore[arg-type]
        chip.on_usb = self.seen.append
        self.wire = Listener()
        self.connect()

    def connect(self) -> None:
        self.wire = Listener()
        self.chip.wires.append(self.wire)

    def wait(self, *changes: bool) -> None:
        """Until its device has changed so."""

        def looked() -> None:
            if self.seen != [*changes]:
                raise BenchFault(f"seen: {self.seen}")

        until_there(looked, Deadline(10))


@pytest.fixture
def echoing(firmware_files: dict[str, Path]) -> Iterator[Watched]:
    flash = Flash(4 << 20)
    flash.program(0, firmware_files["esp32c3"].read_bytes())
    watched = Watched(Chip("esp32c3", flash, MAC, Echo), "serial-jtag")
    watched.chip.power_on()
    watched.wire.wait(b"echo:")
    yield watched
    watched.chip.power_off()


def test_an_application_takes_its_port_along_and_the_loader_keeps_it(echoing: Watched) -> None:
    chip, first = echoing.chip, echoing.wire
    assert echoing.seen == []
    chip.receive(b"\x12", first)  # it resets the chip
    echoing.wait(False, True)
    chip.receive(b"not heard", first)
    assert b"not heard" not in first.heard and first.heard.count(b"echo:") == 1
    echoing.connect()
    for dtr, rts in USB_RESET:
        chip.set_lines(dtr=bool(dtr), rts=bool(rts))
    echoing.wire.wait(b"rst:0x15 (USB_UART_CHIP_RESET),boot:0x4 (DOWNLOAD(USB/UART0/1))")
    assert chip.downloading and echoing.seen == [False, True]
    chip.run_application()
    echoing.wait(False, True, False, True)


def test_a_host_that_goes_while_it_holds_the_reset_lets_the_chip_start(echoing: Watched) -> None:
    chip = echoing.chip
    chip.set_lines(dtr=False, rts=True)
    assert chip._life is None
    chip.wires.remove(echoing.wire)
    chip.release_lines()
    echoing.wait(False, True)


def test_a_chip_without_firmware_keeps_the_port_of_its_rom_and_an_application_of_its_own_has_none() -> None:
    rom = Watched(Chip("esp32s3", Flash(4 << 20), MAC, Echo), "serial-jtag")
    rom.chip.power_on()
    rom.wire.wait(b"rst:0x7 (TG0WDT_SYS_RST)", times=2)
    assert rom.seen == []
    rom.chip.power_off()
    assert rom.seen == [False]
    own = Watched(Chip("esp32s3", Flash(4 << 20), MAC, Echo), "cdc")
    own.chip.power_on()
    assert own.chip.settled.wait(5)
    assert own.seen == []
    own.chip.power_off()


# -- processes, and clients that are not ours ----------------------------------------------------


def patient_tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A client as a person starts it: again, as long as there is no such port."""

    def attempt() -> subprocess.CompletedProcess[str]:
        done = tool(*arguments, check=False)
        if done.returncode:
            raise BenchFault(f"{done.stdout}\n{done.stderr}")
        return done

    return until_there(attempt, Deadline(60))


def opened(board: RunningBoard) -> OpenPort:
    return until_there(lambda: open_port(board.url), Deadline(20))


def connected(board: RunningBoard) -> MicroPythonBoard:
    session = Session(opened(board), reopen=lambda: open_port(board.url))

    def reset() -> None:
        CustomReset(SEQUENCES["usb-jtag"])(session.port)  # type: ignore[arg-type]

    def intervene(intervention: Intervention) -> None:
        board.power(on=False)
        board.power(on=True)

    return MicroPythonBoard(session, reset=reset, intervene=intervene, boot_timeout=30, native_usb=True)


#: Boot loader and partition table, which esptool writes here; the rest is in the flash already.
HEAD = 0x9000


@pytest.fixture(params=["esp32s3", "esp32c3", "esp32c6"])
def behind_usb(
    request: pytest.FixtureRequest, tmp_path: Path, firmware_files: dict[str, Path]
) -> Iterator[tuple[RunningBoard, Path]]:
    """A chip at its own USB that does not start, and what it lacks."""
    firmware = firmware_files[request.param].read_bytes()
    head = tmp_path / "head.bin"
    head.write_bytes(firmware[:HEAD])
    spec = VirtualSpec(f"u{request.param}", request.param, str(tmp_path), usb="serial-jtag")
    write_flash_file(spec, HEAD, firmware[HEAD:])
    with start(spec) as board:
        yield board, head


def test_esptool_writes_a_chip_that_does_not_start_and_the_vm_answers(behind_usb: tuple[RunningBoard, Path]) -> None:
    board, head = behind_usb
    esptool = ("esptool", "--port", board.url, "--before", "usb-reset")
    done = patient_tool(*esptool, "write-flash", "0x0", str(head))
    assert "Hash of data verified" in done.stdout
    said = patient_tool("mpremote", "connect", board.url, "exec", "print(6 * 7)").stdout
    assert said.strip() == "42"
    again = patient_tool(*esptool, "verify-flash", "0x0", str(head))
    assert "Verification successful" in re.sub(r"\s+", " ", again.stdout)


def test_a_pseudo_terminal_comes_back_under_another_name_behind_the_same_link(
    behind_usb: tuple[RunningBoard, Path],
) -> None:
    board, head = behind_usb
    assert board.pty is not None
    link = Path(board.pty)
    before = link.resolve()
    tool("esptool", "--port", board.pty, "write-flash", "0x0", str(head))
    patient_tool("mpremote", "connect", board.pty, "resume", "exec", "print(6 * 7)")
    name = until_there(lambda: _another(link, before), Deadline(20))
    port = serial.Serial(board.pty, timeout=5)
    port.write(b"\r\x03\x01import machine\r\nmachine.reset()\x04")
    with pytest.raises((serial.SerialException, OSError)):  # as an adapter that was pulled out
        while True:
            if not port.read(1):
                port.write(b"\x04")
    port.close()
    until_there(lambda: _another(link, name), Deadline(20))
    assert patient_tool("mpremote", "connect", board.pty, "exec", "print(6 * 7)").stdout.strip() == "42"


def _another(link: Path, name: Path) -> Path:
    if not link.is_symlink() or link.resolve() == name:
        raise BenchFault("not yet")
    return link.resolve()


@pytest.fixture
def s3(tmp_path: Path, firmware_files: dict[str, Path]) -> Iterator[RunningBoard]:
    spec = VirtualSpec("s3", "esp32s3", str(tmp_path), usb="serial-jtag")
    write_flash_file(spec, 0, firmware_files["esp32s3"].read_bytes())
    with start(spec) as board:
        wait_for_vm(board)
        yield board


def test_the_harness_resets_it_sleeps_with_it_and_wakes_it(s3: RunningBoard) -> None:
    board = connected(s3)
    board.enter()
    board.run("import machine; machine.RTC().memory(b'kept')")
    board.hard_reset()
    # The port's own reset has no name with the port, and leaves the RTC domain alone.
    asked = "import machine; print(machine.reset_cause(), machine.RTC().memory())"
    assert board.run(asked).stdout == b"0 b'kept'\r\n"
    end = "print('\\x02|end|-|-|\\x03')\nimport machine, time\ntime.sleep_ms(50)\n"
    assert board.run_to_reset(end + "machine.deepsleep(100)").silent > 0.1
    assert board.run(asked).stdout == b"4 b'kept'\r\n"
    # Its power is cut while there is no port.
    board.run_to_reset(end + "machine.deepsleep(600000)", within=20, intervention=Intervention(0.4, "power"))
    assert board.run(asked).stdout == b"1 b''\r\n"
    with pytest.raises(BenchFault, match="reset lines have gone with its port"):
        board.run_to_reset(end + "machine.deepsleep(600000)", intervention=Intervention(0.4))

    board.close()


def test_the_harness_writes_it_by_its_own_sequence_and_says_what_to_try_otherwise(
    s3: RunningBoard, firmware_files: dict[str, Path]
) -> None:
    reset = CustomReset(SEQUENCES["usb-jtag"])
    other = FlashImage(0, firmware_files["esp32c3"].read_bytes(), "c3")
    with (
        pytest.raises(UsageError, match="is an image for esp32c3, this chip is an esp32s3"),
        EspFlasher("esp32s3", opened(s3), before="usb-reset", reset=reset) as flasher,
    ):
        flasher.write([other])
    image = bytearray(firmware_files["esp32s3"].read_bytes())
    with EspFlasher("esp32s3", opened(s3), before="usb-reset", reset=reset) as flasher:
        assert flasher.write([FlashImage(0, bytes(image), "same")]).written == 0
        assert flasher.write([FlashImage(0x3F0000, b"new" * 100, "more")]).written
    with pytest.raises(BenchFault, match="usb-reset"), EspFlasher("esp32s3", opened(s3), connect_attempts=1):
        pass
