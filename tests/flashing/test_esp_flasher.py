"""Flashing through the harness's own path, against virtual chips over RFC 2217."""

import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from esptool.targets import CHIP_DEFS

from harness.errors import BenchFault, UsageError
from harness.flashing.esp import EspFlasher, identify
from harness.flashing.flasher import FlashImage, FlashJob
from harness.flashing.methods import flasher_for
from harness.inventory.load import load_bench
from harness.link.ports import ModemLines, open_port
from harness.virtual.bench import RunningBoard, VirtualSpec, start


@pytest.fixture(params=["esp32", "esp8266"])
def blank(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningBoard]:
    with start(VirtualSpec(f"f{request.param}", request.param, str(tmp_path), app="echo")) as board:
        yield board


def chip_of(board: RunningBoard) -> str:
    return board.id[1:]


def flash_of(board: RunningBoard) -> bytes:
    assert board.pty
    return (Path(board.pty).parent / f"{board.id}.flash").read_bytes()


def test_write_then_unchanged_then_only_the_difference(blank: RunningBoard) -> None:
    image = bytearray(bytes(range(256)) * 1024)
    port = open_port(blank.url)
    reports = []
    seen: list[tuple[str, int, int]] = []
    for _ in range(3):
        with EspFlasher(chip_of(blank), port, progress=lambda *step: seen.append(step)) as flasher:
            reports.append(flasher.write([FlashImage(0x20000, bytes(image), "test image")]))
        image[200_000] ^= 0xFF
        if len(reports) == 1:
            image[200_000] ^= 0xFF
    port.close()
    assert [(r.written, r.unchanged) for r in reports] == [(262144, 0), (0, 262144), (65536, 196608)]
    image[200_000] ^= 0xFF
    assert flash_of(blank)[0x20000 : 0x20000 + len(image)] == bytes(image)
    assert reports[0].identity.flash_size == 4 * 1024 * 1024
    assert any(step == "write" and 0 < done <= total for step, done, total in seen)


def test_the_wrong_chip_is_noticed_before_anything_is_erased(blank: RunningBoard) -> None:
    other = "esp8266" if chip_of(blank) == "esp32" else "esp32"
    port = open_port(blank.url)
    with pytest.raises(UsageError, match=f"expected an {other}") as caught, EspFlasher(other, port):
        pass
    assert "nothing was written" in str(caught.value)
    assert flash_of(blank) == b"\xff" * (4 * 1024 * 1024)
    port.close()


def test_a_chips_name_that_the_line_changed_is_the_lines_fault(
    blank: RunningBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a register holds comes without a checksum: another chip is believed when it says so twice."""
    loader = CHIP_DEFS[chip_of(blank)]
    read = loader.read_reg
    asked: list[int] = []

    def damaged(self: Any, address: int, *rest: Any, **more: Any) -> int:
        value = int(read(self, address, *rest, **more))
        if address == loader.CHIP_DETECT_MAGIC_REG_ADDR:
            asked.append(value)
            return CHIP_DEFS["esp32s2"].MAGIC_VALUE if len(asked) == 1 else value
        return value

    monkeypatch.setattr("esptool.loader.ESPLoader.read_reg", damaged)
    port = open_port(blank.url)
    words = "asked twice what it is; .* ESP32-S2, .*; then: "
    with pytest.raises(BenchFault, match=words), EspFlasher(chip_of(blank), port):
        pass
    assert len(asked) > 1
    port.close()


def test_an_image_that_does_not_fit_is_refused(blank: RunningBoard) -> None:
    port = open_port(blank.url)
    with EspFlasher(chip_of(blank), port) as flasher, pytest.raises(UsageError, match="this chip has 0x400000"):
        flasher.write([FlashImage(0x3FF000, bytes(8192), "large image")])
    port.close()
    assert flash_of(blank) == b"\xff" * (4 * 1024 * 1024)


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ([(0x10000, 5000), (0x11000, 10)], r"second at 0x11000 would overwrite the end of first \(0x11388\)"),
        ([(0x11000, 10), (0x10000, 5000)], r"first at 0x11000 would overwrite the end of second"),
        ([(0x10000, 10), (0x10010, 10)], "second is to be written to 0x10010, inside a sector"),
    ],
)
def test_images_on_each_other_are_refused(blank: RunningBoard, places: list[tuple[int, int]], message: str) -> None:
    images = [
        FlashImage(offset, bytes(size), name) for (offset, size), name in zip(places, ("first", "second"), strict=True)
    ]
    port = open_port(blank.url)
    with EspFlasher(chip_of(blank), port) as flasher, pytest.raises(UsageError, match=message):
        flasher.write(images)
    port.close()
    assert flash_of(blank) == b"\xff" * (4 * 1024 * 1024)


def test_a_chip_is_identified_without_knowing_it(blank: RunningBoard) -> None:
    started = time.monotonic()
    port = open_port(blank.url)
    found = identify(port)
    assert time.monotonic() - started < 3  # measured 0.7 s; pyserial's own client takes more than 20 s
    with EspFlasher(chip_of(blank), port) as flasher:
        assert flasher.identity == found
    assert found.chip == chip_of(blank)
    assert found.flash_size == 4 * 1024 * 1024
    port.close()


def test_a_chip_in_secure_download_mode_cannot_be_verified(
    blank: RunningBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    rom = CHIP_DEFS[chip_of(blank)]

    class Secured(rom):  # type: ignore[misc, valid-type]
        def _post_connect(self) -> None:
            self.secure_download_mode = True

    monkeypatch.setitem(CHIP_DEFS, chip_of(blank), Secured)
    port = open_port(blank.url)
    with pytest.raises(UsageError, match="secure download mode"), EspFlasher(chip_of(blank), port):
        pass
    port.close()


class Reset:
    """Says with which lines the application was started."""

    def __init__(self) -> None:
        self.ports: list[object] = []

    def __call__(self, port: ModemLines) -> None:
        self.ports.append(port)


def test_the_reset_that_the_bench_file_describes_starts_the_application(
    blank: RunningBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when nothing could be written."""
    reset = Reset()
    port = open_port(blank.url)
    with EspFlasher(chip_of(blank), port, reset=reset) as flasher:
        flasher.write([FlashImage(0x10000, bytes(100), "image")])
        assert reset.ports == []
    assert reset.ports == [port]
    other = "esp8266" if chip_of(blank) == "esp32" else "esp32"
    with pytest.raises(UsageError), EspFlasher(other, port, reset=reset):
        pass
    assert reset.ports == [port, port]
    port.close()


class Lines:
    """A port that remembers the levels of its lines."""

    port = "lines"
    is_open = True
    baudrate = 0

    def __init__(self) -> None:
        self.levels: list[tuple[str, bool]] = []

    def __setattr__(self, name: str, value: object) -> None:
        if name in ("dtr", "rts"):
            self.levels.append((name, bool(value)))
        else:
            super().__setattr__(name, value)

    def reset_input_buffer(self) -> None: ...


@pytest.mark.parametrize(
    ("reset", "levels"),
    [
        ("{method: custom, sequence: 'R1|R0|D1|D0'}", [("rts", True), ("rts", False), ("dtr", True), ("dtr", False)]),
        ("{method: usb-jtag}", [("rts", True), ("rts", False)]),
        ("{method: classic, invert: [rts]}", [("dtr", False), ("rts", False), ("rts", True)]),
    ],
)
def test_each_reset_of_the_bench_file_is_the_one_after_flashing(
    tmp_path: Path, reset: str, levels: list[tuple[str, bool]]
) -> None:
    (tmp_path / "boards.yaml").write_text(
        f"boards: [{{id: b, chip: esp32, runtime: micropython, identity: {{port: /dev/ttyUSB7}}, reset: {reset}}}]"
    )
    (board,) = load_bench(tmp_path / "boards.yaml").boards
    lines = Lines()
    flasher = flasher_for(FlashJob(board, lines, lambda *_: None))
    flasher.__exit__(None, None, None)
    assert lines.levels == levels


@pytest.mark.parametrize("inverted", [["rts"], ["dtr"], ["dtr", "rts"]])
def test_a_boot_loader_behind_inverted_lines_is_reached(
    tmp_path: Path, blank: RunningBoard, inverted: list[str]
) -> None:
    (tmp_path / "boards.yaml").write_text(
        f"boards: [{{id: b, chip: {chip_of(blank)}, runtime: micropython, identity: {{port: /dev/ttyUSB7}}, "
        f"flash: {{connect_attempts: 2}}, reset: {{method: classic, invert: [{', '.join(inverted)}]}}}}]"
    )
    (board,) = load_bench(tmp_path / "boards.yaml").boards
    port = open_port(blank.url)
    kind = type(port)

    def turned(name: str) -> property:
        line = getattr(kind, name)
        return property(line.fget, lambda self, asserted: line.fset(self, not asserted))

    wired = {name: turned(name) for name in inverted}
    port.__class__ = type("Inverted", (kind,), wired)
    for name in inverted:
        setattr(port, name, True)  # console.dtr, console.rts
    with flasher_for(FlashJob(board, port, lambda *_: None)) as flasher:
        assert flasher.identity.chip == chip_of(blank)
    port.close()


def test_an_answer_that_makes_no_sense_is_the_bench_s_fault(
    blank: RunningBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: object) -> str:
        raise struct.error("unpack requires a buffer of 16 bytes")

    port = open_port(blank.url)
    with EspFlasher(chip_of(blank), port) as flasher:
        monkeypatch.setattr(flasher, "_md5", damaged)
        with pytest.raises(BenchFault, match="failed at step 'compare': an answer makes no sense"):
            flasher.write([FlashImage(0x10000, bytes(100), "image")])
    port.close()


def test_what_does_not_verify_is_said(blank: RunningBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    port = open_port(blank.url)
    with EspFlasher(chip_of(blank), port) as flasher:
        monkeypatch.setattr(flasher, "_md5", lambda *_: "0" * 32)
        with pytest.raises(BenchFault, match="failed at step 'verify': MD5 of image"):
            flasher.write([FlashImage(0x10000, bytes(100), "image")])
    port.close()


def test_a_board_that_does_not_answer_says_which_step_and_what_to_try(tmp_path: Path) -> None:
    import os

    master, slave = os.openpty()
    port = open_port(os.ttyname(slave))
    unanswered = pytest.raises(BenchFault, match="failed at step 'connect'")
    with unanswered as caught, EspFlasher("esp32", port, connect_attempts=1):
        pass
    assert "this port has no reset lines (it is a pseudo-terminal)" in caught.value.message
    assert "BOOT" in str(caught.value)
    assert "baud" not in str(caught.value)
    os.close(master)


def test_a_port_in_use_and_a_missing_one(blank: RunningBoard) -> None:
    first = open_port(blank.url)
    with pytest.raises(BenchFault, match="another client"):
        open_port(blank.url)
    first.close()
    with pytest.raises(BenchFault, match="no such port"):
        open_port("/dev/does-not-exist")
    assert blank.pty
    held = open_port(blank.pty)
    with pytest.raises(BenchFault, match="in use"):
        open_port(blank.pty)
    held.close()
