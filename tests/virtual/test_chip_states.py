"""Reset lines, power, boot loops and the console of one virtual chip, without a port."""

import hashlib
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from harness.virtual import esp_chip as chip_module
from harness.virtual.application import AppContext, Ended, Exit
from harness.virtual.boot import Boot
from harness.virtual.esp_chip import Chip
from harness.virtual.nor_flash import Flash
from harness.virtual.rom import xor_checksum
from harness.virtual.serve import Echo
from harness.virtual.slip import encode
from tests.virtual.chip_clients import MAC, Listener, Recorder, esp_reset_pulse

SYNC = encode(struct.pack("<BBHI", 0, 8, 36, 0) + b"\x07\x07\x12\x20" + b"\x55" * 32)

Made = tuple[Chip, Listener, Recorder]
Make = Callable[..., Made]


def esp8266_image(payload: bytes, flash_size: int = 4 << 20) -> bytes:
    """The smallest whole image: one segment, code at 0x9000, MD5 over all but the first word."""
    segment = bytes(16)
    head = struct.pack("<BBBBI", 0xE9, 1, 2, 0x40, 0x40100000) + struct.pack("<II", 0x40100000, 16) + segment
    head = head.ljust(len(head) | 15, b"\0") + bytes([xor_checksum(segment)])
    code = b"VMWASM\0\1" + struct.pack("<I", len(payload)) + payload
    code += bytes(-len(code) % 4)
    body = head.ljust(0x8FFC, b"\xff") + struct.pack("<I", 0x9000 + len(code)) + code
    return body + hashlib.md5(body[4:], usedforsecurity=False).digest()


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Chip] = []

    def factory(kind: str = "esp8266", image: bytes = b"", baud: int | None = 115200) -> Made:
        flash = Flash(4 << 20)
        flash.program(0, image)
        recorder, wire = Recorder(), Listener(baud)
        chip = Chip(kind, flash, MAC, recorder)
        chip.wires.append(wire)
        made.append(chip)
        return chip, wire, recorder

    yield factory
    for chip in made:
        chip.power_off()


def test_it_boots_what_the_flash_holds_and_echoes(make: Make) -> None:
    chip, wire, made = make(image=esp8266_image(b"\0asm" + bytes(96)))
    chip.power_on()
    wire.wait(b"echo: payload of 100 bytes")
    chip.receive(b"hello", wire)
    wire.wait(b"hello")
    context = made.contexts[0]
    assert (context.reset_cause, context.mac) == ("power-on", MAC)
    assert context.partitions == {"romfs": (0xB0000, 0x50000), "vfs": (0x100000, (4 << 20) - 0x105000)}


def test_it_is_settled_when_its_application_can_be_spoken_to(make: Make) -> None:
    """What is sent earlier is lost, so a client must be able to know."""
    chip, wire, made = make(image=esp8266_image(b"x"))
    started, loading = threading.Event(), threading.Event()

    def slow(context: AppContext) -> Echo:
        started.set()
        assert loading.wait(5)
        return made(context)

    chip._factory = slow
    chip.power_on()
    assert started.wait(5)
    chip.receive(b"<too early>", wire)
    assert not chip.settled.is_set()
    loading.set()
    assert chip.settled.wait(5)
    chip.receive(b"<at once>", wire)
    wire.wait(b"<at once>")
    assert b"early" not in wire.heard


def test_a_chip_that_cannot_boot_is_settled_too(make: Make) -> None:
    chip, _, _ = make("esp32")
    chip.power_on()
    assert chip.settled.wait(5)


def test_rts_alone_resets_and_equal_lines_do_nothing(make: Make) -> None:
    chip, wire, made = make(image=esp8266_image(b"x"))
    chip.power_on()
    wire.wait(b"echo:")
    chip.set_lines(dtr=True, rts=True)
    chip.set_lines(dtr=True, rts=False)
    chip.set_lines(dtr=False, rts=False)
    chip.receive(b"still here", wire)
    wire.wait(b"still here")
    assert len(made.contexts) == 1
    esp_reset_pulse(chip)
    wire.wait(b"echo:", times=2)
    assert made.contexts[1].reset_cause == "external"


def test_nothing_runs_while_en_is_held_low(make: Make) -> None:
    chip, wire, _ = make(image=esp8266_image(b"x"))
    chip.power_on()
    wire.wait(b"echo:")
    chip.set_lines(dtr=False, rts=True)
    wire.clear()
    chip.receive(b"anyone?", wire)
    assert wire.heard == b""


def test_power_does_not_start_a_chip_that_is_held_in_reset(make: Make) -> None:
    chip, wire, made = make(image=esp8266_image(b"x"))
    chip.set_lines(dtr=False, rts=True)
    chip.power_on()
    chip.set_lines(dtr=False, rts=False)
    wire.wait(b"echo:")
    assert [context.reset_cause for context in made.contexts] == ["external"]


def test_the_classic_reset_sequence_with_slow_lines_enters_download_mode(make: Make) -> None:
    """Over TCP both lines are asserted for a while between the two steps: EN's capacitor bridges that."""
    chip, wire, made = make("esp32")
    chip.power_on()
    chip.set_lines(dtr=False, rts=True)
    chip.set_lines(dtr=True, rts=True)
    chip.set_lines(dtr=True, rts=False)
    chip.set_lines(dtr=False, rts=False)
    wire.wait(b"waiting for download")
    chip.receive(SYNC, wire)
    wire.wait(b"\xc0\x01\x08", times=8)
    assert made.contexts == []
    assert chip.downloading


def test_a_late_io0_does_not_enter_download_mode(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chip_module, "EN_DELAY", 0.01)
    chip, wire, _ = make(image=esp8266_image(b"x"))
    chip.power_on()
    wire.wait(b"echo:")
    esp_reset_pulse(chip)
    wire.wait(b"echo:", times=2)
    chip.set_lines(dtr=True, rts=False)
    assert not chip.downloading


def test_an_erased_chip_loops_at_a_pace_and_obeys_reset_at_once(make: Make) -> None:
    chip, wire, _ = make("esp32")
    started = time.monotonic()
    chip.power_on()
    wire.wait(b"rst:0x10 (RTCWDT_RTC_RESET)", times=2)
    took = time.monotonic() - started
    assert took > 1.5 * chip_module.BOOT_LOOP_PAUSE
    assert wire.heard.count(b"rst:0x1 (") == 1
    assert b"invalid header: 0xffffffff\r\ninvalid header: 0xffffffff" in wire.heard
    started = time.monotonic()
    chip.set_lines(dtr=False, rts=True)
    assert time.monotonic() - started < 0.1


def test_the_application_can_reset_and_crash(make: Make) -> None:
    chip, wire, made = make(image=esp8266_image(b"x"))
    chip.power_on()
    wire.wait(b"echo:")
    made.contexts[0].noinit["key"] = b"kept"
    chip.receive(b"\x12", wire)
    wire.wait(b"echo:", times=2)
    chip.receive(b"\x18", wire)
    wire.wait(b"Fatal exception 28")
    wire.wait(b"echo:", times=3)
    assert [c.reset_cause for c in made.contexts] == ["power-on", "software", "software"]
    assert made.contexts[2].noinit == {"key": b"kept"}
    chip.power_off()
    chip.power_on()
    wire.wait(b"echo:", times=4)
    assert made.contexts[3].noinit == {}


def test_a_crash_detail_cannot_carry_control_characters(make: Make) -> None:
    chip, wire, _ = make("esp32")

    class Crashing:
        def run(self) -> Exit:
            return Exit(Ended.CRASH, "at \x1b[31m\xff\r\n" + "y" * 1000)

        def stop(self) -> None: ...

        def received(self, data: bytes) -> bytes:
            return data

    chip._factory = lambda _context: Crashing()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chip_module, "boot", lambda *_: Boot(payload=b"x"))
        chip.power_on()
        wire.wait(b"Rebooting...")
        chip.power_off()
    assert b"Guru Meditation Error: Core  0 panic'ed (StoreProhibited)" in wire.heard
    assert b"\x1b" not in wire.heard
    assert b"y" * 130 not in wire.heard


@pytest.mark.parametrize(("baud", "clean"), [(115200, False), (74880, True), (76000, True), (None, True)])
def test_the_esp8266_rom_is_only_read_at_its_own_rate(make: Make, baud: int | None, clean: bool) -> None:
    chip, wire, _ = make(baud=baud)  # erased: ROM text only
    chip.power_on()
    if clean:
        wire.wait(b"rst cause:1")
        wire.wait(b"flash read err, 0")
    else:
        deadline = time.monotonic() + 5
        while len(wire.heard) < 60 and time.monotonic() < deadline:
            threading.Event().wait(0.005)
        assert b"rst cause" not in wire.heard
        assert sum(byte > 0x7F for byte in wire.heard) > len(wire.heard) / 2


def test_garbage_at_the_wrong_rate_is_the_same_each_time(make: Make) -> None:
    seen = []
    for _ in range(2):
        chip, wire, _made = make("esp8266", baud=9600)
        chip.emit(bytes(64), 115200)
        seen.append(wire.heard)
    assert seen[0] == seen[1] != bytes(64)


def test_what_is_sent_at_the_wrong_rate_arrives_as_garbage(make: Make) -> None:
    chip, wire, _ = make(image=esp8266_image(b"x"))
    chip.power_on()
    wire.wait(b"echo:")
    wire.clear()
    wire.baud = 9600
    chip.receive(b"secret-text", wire)
    wire.baud = 115200
    chip.receive(b"<end>", wire)
    wire.wait(b"<end>")
    assert b"secret-text" not in wire.heard


def test_on_a_pty_a_sync_holds_the_buttons_and_a_close_starts_the_application(make: Make) -> None:
    chip, wire, _ = make(image=esp8266_image(b"x"), baud=None)
    chip.power_on()
    wire.wait(b"echo:")
    assert not chip.press_buttons_for_sync(b"print('\xc0\x00\x08\x24\x00')")
    assert chip.press_buttons_for_sync(SYNC)
    assert chip.downloading
    chip.leave_download()
    wire.wait(b"echo:", times=2)
