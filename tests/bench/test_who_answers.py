"""Who answers at a port is proved before anything else is asked of it: by the chip's number and its names."""

import re
from pathlib import Path

import pytest

from harness.bench.attach import AttachedBoard, Options, attach
from harness.bench.who_answers import another_board, unproved
from harness.errors import FinalFault
from harness.flashing.flasher import FlashImage
from harness.flashing.stm32_uart import Stm32UartFlasher
from harness.formats.virtual_image import flash_offset
from harness.inventory.load import load_bench
from harness.inventory.model import Board, Identity
from harness.link.ports import open_port
from harness.runtimes.interface import Facts
from harness.runtimes.who import ChipNames
from harness.virtual.bench import RunningBoard, VirtualSpec, start
from harness.virtual.virtual_firmware import build_firmware
from tests.running_boards import wait_for_vm, write_flash_file

MAC = "24:0a:c4:12:34:56"


def board(chip: str, runtime: str = "micropython", **identity: object) -> Board:
    told = Identity.model_validate(identity or {"port": "/dev/tty1"})
    return Board(id="b", chip=chip, runtime=runtime, identity=told)


def facts(name: str = "micropython") -> Facts:
    return Facts(name, "v1.26", "", 4, "A", 100_000, 0)


@pytest.mark.parametrize(
    ("entry", "name", "names", "told"),
    [
        (board("esp8266"), "micropython", ChipNames("pyboard", "PYBv1.1 with STM32F405RG"), "here answers .*PYBv1.1"),
        (board("esp8266"), "micropython", ChipNames("esp32", "Generic ESP32 module with ESP32"), "platform 'esp32'"),
        (board("stm32f405"), "micropython", ChipNames("rp2", "Raspberry Pi Pico with RP2040"), "Pico with RP2040"),
        (board("esp32s3"), "micropython", ChipNames("esp32", "module with ESP32C3"), "expected .* on esp32s3"),
        (board("esp32"), "micropython", ChipNames("esp32", "LOLIN with ESP32-S2FN4R2"), "ESP32-S2FN4R2"),
        (board("stm32l476"), "micropython", ChipNames("pyboard", "NUCLEO-F746ZG with STM32F746"), "NUCLEO-F746ZG"),
        (board("esp32"), "circuitpython", ChipNames("Espressif", "with ESP32"), "here answers circuitpython"),
        (board("esp32", mac=MAC), "micropython", ChipNames("esp32", "", "240ac4123457"), "answers 24:0a:c4:12:34:57"),
        (board("esp8266", mac=MAC), "micropython", ChipNames("esp8266", "", "57341200", "123457"), "ends in 12:34:57"),
        (board("stm32f405", uid="00" * 12), "micropython", ChipNames("pyboard", "", "01" * 12), "here answers 0101"),
    ],
)  # fmt: skip
def test_another_board_is_told(entry: Board, name: str, names: ChipNames, told: str) -> None:
    assert re.search(told, another_board(entry, facts(name), names))


@pytest.mark.parametrize(
    ("entry", "name", "names"),
    [
        (board("esp8266"), "micropython", ChipNames()),
        (board("esp8266"), "forked", ChipNames("WiPy", "WiPy with some chip")),
        (board("esp32"), "micropython", ChipNames("esp32", "TinyPICO with ESP32-PICO-D4")),
        (board("esp32"), "micropython", ChipNames("esp32", "board with ESP32-D0WD-V3")),
        (board("esp32"), "micropython", ChipNames("esp32", "a newer one with ESP32H4")),  # not in the list: no proof
        (board("stm32f405"), "micropython", ChipNames("pyboard", "F4DISC with STM32F407")),  # one device id
        (board("stm32l476"), "micropython", ChipNames("pyboard", "B-L475E-IOT01A with STM32L475VG")),
        (board("generic"), "micropython", ChipNames("rp2", "Raspberry Pi Pico with RP2040")),
        (board("esp32", mac=MAC), "micropython", ChipNames("esp32", "", "240ac4123456")),
        (board("esp8266", mac=MAC), "nodemcu", ChipNames("esp8266", "", "123456", "123456")),
        (board("stm32f405", uid="01" * 12), "micropython", ChipNames("pyboard", "", "01" * 12)),
        (board("stm32f405", uid="01" * 12), "micropython", ChipNames("pyboard", "", "02" * 4)),  # a shorter number
    ],
)  # fmt: skip
def test_what_is_no_proof_is_none(entry: Board, name: str, names: ChipNames) -> None:
    entry = entry.model_copy(update={"runtime": name}) if name == "nodemcu" else entry
    assert another_board(entry, facts(name), names) == ""


def test_circuitpython_swaps_the_halves_of_each_byte() -> None:
    entry = board("esp32", "circuitpython", mac=MAC)
    answers = facts("circuitpython")
    assert another_board(entry, answers, ChipNames("Espressif", "", "42a04c214365")) == ""
    assert another_board(entry, answers, ChipNames("Espressif", "", "42a04c214364"))


@pytest.mark.parametrize(
    ("identity", "names", "doubt"),
    [
        ({"usb_serial": "12345678"}, ChipNames(), "usb_serial '12345678' proves nothing"),
        ({"usb_serial": "FFFFFFFF", "vid_pid": "1a86:7523"}, ChipNames(), "add usb_location, or mac"),
        ({"usb_serial": "0001", "usb_location": "1-1.2"}, ChipNames(), ""),
        ({"usb_serial": "0001", "mac": MAC}, ChipNames("esp32", "", "240ac4123456"), ""),
        ({"usb_serial": "0001", "mac": MAC}, ChipNames("esp32"), f"that it is {MAC} is not proved"),
        ({"usb_serial": "A904CBG5"}, ChipNames(), ""),
    ],
)
def test_what_nothing_proves_is_said(identity: dict[str, str], names: ChipNames, doubt: str) -> None:
    said = unproved(board("esp32", **identity), facts(), names, asked_loader=False)
    assert doubt in said
    assert bool(said) == bool(doubt)
    assert unproved(board("esp32", **identity), facts(), names, asked_loader=True) == ""


BENCH = """
boards:
  - id: b
    chip: {chip}
    runtime: {runtime}
    identity: {{url: "{url}"{more}}}
    console: {{rts: {rts}}}
    flash: {{method: none}}
"""


def attached(folder: Path, virtual: RunningBoard, chip: str, more: str = "", **how: str) -> AttachedBoard:
    values = {"runtime": "micropython", "rts": "false", **how}
    (folder / "boards.yaml").write_text(BENCH.format(chip=chip, url=virtual.url, more=more, **values))
    (entry,) = load_bench(folder / "boards.yaml").boards
    events: list[tuple[str, str]] = []
    found = attach(entry, Options(folder, flash=False), lambda *_: None, lambda *event: events.append(event))
    assert not events
    return found


def test_an_stm32_behind_the_port_of_an_esp8266(tmp_path: Path, firmware_files: dict[str, Path]) -> None:
    spec = VirtualSpec("v", "stm32f405", str(tmp_path / "virtual"), pace="fast")
    with start(spec) as virtual:
        port = open_port(virtual.url, rts=True)
        with Stm32UartFlasher("stm32f405", port) as flasher:
            image = firmware_files["stm32f405"].read_bytes()
            flasher.write([FlashImage(flash_offset("stm32f405"), image, "firmware")])
        port.close()
        wait_for_vm(virtual, rts=True)
        with pytest.raises(FinalFault, match=r"expected micropython on esp8266, here answers .*STM32F405"):
            attached(tmp_path, virtual, "esp8266", rts="true")
        assert not (tmp_path / "health.json").exists()
        right = attached(tmp_path, virtual, "stm32f405", rts="true")
        uid = right.runtime.run("import machine; print(machine.unique_id().hex())").stdout.decode().strip()
        right.close()
        attached(tmp_path, virtual, "stm32f405", f", uid: '{uid}'", rts="true").close()
        with pytest.raises(FinalFault, match=f"expected the chip with unique id 00.*, here answers {uid}"):
            attached(tmp_path, virtual, "stm32f405", f", uid: '{'00' * 12}'", rts="true")


@pytest.mark.parametrize(
    ("chip", "runtime"),
    [("esp32", "micropython"), ("esp8266", "micropython"), ("esp8266", "nodemcu"), ("esp32", "circuitpython")],
)
def test_a_wrong_mac_is_found_without_any_flashing(tmp_path: Path, chip: str, runtime: str) -> None:
    spec = VirtualSpec("v", chip, str(tmp_path / "virtual"), mac=MAC)
    write_flash_file(spec, flash_offset(chip), build_firmware(chip, runtime=runtime))
    with start(spec) as virtual:
        attached(tmp_path, virtual, chip, f", mac: '{MAC}'", runtime=runtime).close()
        other = "24:0a:c4:12:34:57"
        with pytest.raises(FinalFault, match=f"is another board: expected the chip with MAC {other}, here answers"):
            attached(tmp_path, virtual, chip, f", mac: '{other}'", runtime=runtime)


@pytest.mark.parametrize(("there", "expected"), [("nodemcu", "micropython"), ("micropython", "nodemcu")])
def test_the_vm_of_another_runtime_is_told(tmp_path: Path, there: str, expected: str) -> None:
    spec = VirtualSpec("v", "esp8266", str(tmp_path / "virtual"), mac=MAC)
    write_flash_file(spec, 0, build_firmware("esp8266", runtime=there))
    with start(spec) as virtual:
        with pytest.raises(FinalFault, match=f"expected {expected}, here answers {there}"):
            attached(tmp_path, virtual, "esp8266", runtime=expected)
        assert not (tmp_path / "health.json").exists()
