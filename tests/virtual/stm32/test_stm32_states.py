"""NRST, BOOT0, power, option bytes and what the flash holds: the states of one virtual STM32, without a port."""

import hashlib
import threading
import zlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from harness.chips import CHIPS as ALL_CHIPS
from harness.formats.virtual_image import build
from harness.virtual.live_board import Surroundings
from harness.virtual.stm32.stm32_chip import Stm32Chip, flash_of
from tests.virtual.chip_clients import MAC, Listener, Recorder, stm32_reset_pulse

CHIPS = {chip.name: chip.virtual.stm32 for chip in ALL_CHIPS.values() if chip.virtual and chip.virtual.stm32}

ACK = b"\x79"
Made = tuple[Stm32Chip, Listener, Recorder]
Make = Callable[..., Made]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Stm32Chip] = []

    def factory(kind: str = "stm32f405", image: bytes | None = None, lines: tuple[str, ...] = ()) -> Made:
        flash = flash_of(kind)
        flash.program(0, build(kind, b"\0asm" + bytes(96), version="v1") if image is None else image)
        recorder, wire = Recorder(), Listener(None)
        chip = Stm32Chip(kind, flash, MAC, recorder, Surroundings(fast=True), lines=lines)
        chip.wires.append(wire)
        made.append(chip)
        return chip, wire, recorder

    yield factory
    for chip in made:
        chip.power_off()


def answers_as_boot_loader(chip: Stm32Chip, wire: Listener) -> bool:
    wire.clear()
    chip.receive(b"\x7f", wire)
    return wire.heard == ACK


@pytest.mark.parametrize("kind", CHIPS)
def test_it_starts_what_the_flash_holds_without_a_word_of_its_own(make: Make, kind: str) -> None:
    chip, wire, made = make(kind)
    chip.power_on()
    wire.wait(b"echo: payload of 100 bytes")
    assert wire.heard == b"echo: payload of 100 bytes\r\n"
    context = made.contexts[0]
    assert context.reset_cause == "power-on"
    end = chip.flash.size
    assert context.partitions == {"romfs": (end - 0x4_0000, 0x2_0000), "vfs": (end - 0x2_0000, 0x2_0000)}


def plain_image(payload: bytes) -> bytes:
    """As images were built before their payload was packed."""
    head = build("stm32f405", payload, version="v1")[:0x200]
    image = head + b"VMWASM\0\1" + len(payload).to_bytes(4, "little") + payload
    return image + hashlib.md5(image, usedforsecurity=False).digest()


def test_an_image_whose_payload_is_not_packed_is_started_too(make: Make) -> None:
    chip, wire, made = make(image=plain_image(b"\0asm" + bytes(60)))
    chip.power_on()
    wire.wait(b"echo: payload of 64 bytes")
    assert made.contexts[0].payload == b"\0asm" + bytes(60)


@pytest.mark.parametrize("packed", [b"no zlib at all..", zlib.compress(bytes(5000))[:-8] + bytes(4)])
def test_what_cannot_be_unpacked_hangs_as_any_damaged_code(make: Make, packed: bytes) -> None:
    image = bytearray(plain_image(packed)[:-16])
    image[0x207] = 2
    chip, wire, made = make(image=bytes(image) + hashlib.md5(image, usedforsecurity=False).digest())
    chip.power_on()
    assert chip.settled.wait(5)
    assert (wire.heard, made.contexts) == (b"", [])


@pytest.mark.parametrize(
    "harm",
    ["erased", "stack", "stack-odd", "entry-even", "entry-elsewhere", "code"],
)
def test_what_does_not_lead_to_code_hangs_in_silence_until_a_reset(make: Make, harm: str) -> None:
    image = bytearray(build("stm32f405", b"\0asm" + bytes(96), version="v1"))
    if harm == "erased":
        image = bytearray()
    elif harm == "code":
        image[0x210] ^= 1
    else:
        word = {"stack": (0, 0x3000_0000), "stack-odd": (0, 0x2001_FFFE), "entry-even": (4, 0x0800_0200)}
        at, value = word.get(harm, (4, 0x0000_0201))
        image[at : at + 4] = value.to_bytes(4, "little")
    chip, wire, made = make(image=bytes(image))
    chip.power_on()
    assert chip.settled.wait(5)
    chip.receive(b"anyone?", wire)
    assert wire.heard == b""
    assert made.contexts == []
    stm32_reset_pulse(chip, boot0=True)
    assert answers_as_boot_loader(chip, wire)


def test_boot0_high_at_the_end_of_a_reset_starts_the_boot_loader_and_low_the_application(make: Make) -> None:
    chip, wire, made = make()
    chip.power_on()
    wire.wait(b"echo:")
    stm32_reset_pulse(chip, boot0=True)
    assert chip.downloading
    assert answers_as_boot_loader(chip, wire)
    stm32_reset_pulse(chip)
    wire.wait(b"echo:")
    assert not chip.downloading
    assert [context.reset_cause for context in made.contexts] == ["power-on", "external"]


def test_boot0_alone_changes_nothing_until_the_next_reset_whatever_its_cause(make: Make) -> None:
    chip, wire, _ = make()
    chip.power_on()
    wire.wait(b"echo:")
    chip.set_lines(dtr=False, rts=False)  # BOOT0 high, as on a port that lets go of RTS
    assert not chip.downloading
    chip.settled.clear()
    chip.receive(b"\x12", wire)  # the application resets the chip
    assert chip.settled.wait(5)
    assert answers_as_boot_loader(chip, wire)


def test_a_held_nrst_keeps_the_chip_silent_and_a_client_that_leaves_lets_it_go(make: Make) -> None:
    chip, wire, made = make()
    chip.set_lines(dtr=True, rts=True)
    chip.power_on()
    assert made.contexts == []
    chip.release_lines()
    wire.wait(b"echo:")


@pytest.mark.parametrize(
    ("lines", "in_loader"),
    [
        ((), {"dtr": False, "rts": False}),
        (("swapped",), {"dtr": False, "rts": False}),
        (("reset-inverted",), {"dtr": True, "rts": False}),
        (("boot0-inverted",), {"dtr": False, "rts": True}),
    ],
)
def test_the_wiring_decides_which_levels_mean_what(
    make: Make, lines: tuple[str, ...], in_loader: dict[str, bool]
) -> None:
    chip, _wire, _ = make(lines=lines)
    chip.set_lines(**in_loader)
    chip.power_on()
    assert chip.settled.wait(5)
    assert chip.downloading


def test_boot0_that_is_not_wired_is_low(make: Make) -> None:
    chip, wire, _ = make(lines=("boot0-unwired",))
    chip.power_on()
    stm32_reset_pulse(chip, boot0=True)
    wire.wait(b"echo:")
    assert not chip.downloading


def test_readout_protection_level_2_leaves_no_way_into_the_boot_loader(make: Make) -> None:
    chip, wire, _ = make()
    chip.options.write(0x1FFF_C000, b"\xef\xcc")
    chip.power_on()
    stm32_reset_pulse(chip, boot0=True)
    wire.wait(b"echo:")
    assert not chip.downloading
    chip.leave_download()
    assert not chip.press_buttons_for_sync(b"\x7f")


def test_go_starts_the_flash_with_the_reset_cause_that_there_was(make: Make) -> None:
    chip, wire, made = make()
    chip.power_on()
    stm32_reset_pulse(chip, boot0=True)
    assert answers_as_boot_loader(chip, wire)
    wire.clear()
    chip.receive(b"\x21\xde", wire)
    chip.receive(b"\x08\x00\x00\x00\x08", wire)
    wire.wait(b"echo:")
    assert made.contexts[-1].reset_cause == "external"


def test_on_a_pty_a_lone_sync_as_the_first_byte_holds_boot0_and_a_close_lets_go(make: Make) -> None:
    chip, wire, _ = make()
    chip.power_on()
    wire.wait(b"echo:")
    assert not chip.press_buttons_for_sync(b"abc\x7f")
    assert not chip.press_buttons_for_sync(b"\x7f")  # a delete key: the client has typed before
    chip.leave_download()
    assert chip.press_buttons_for_sync(b"\x7f")
    assert chip.downloading
    assert not chip.press_buttons_for_sync(b"\x7f")
    chip.leave_download()
    wire.wait(b"echo:", times=2)
    assert not chip.downloading


def test_a_client_of_another_parity_is_understood_by_chance(make: Make) -> None:
    """A parity bit in the place of the stop bit is right where it is 1: for every other byte."""
    chip, wire, _ = make()
    chip.power_on()
    wire.wait(b"echo:")
    wire.clear()
    wire.parity = "E"  # the application has none
    chip.receive(b"\x01\x02\x03\x05\x07", wire)
    wire.parity = None
    chip.receive(b"<end>", wire)
    wire.wait(b"<end>")
    heard = wire.heard
    assert heard[0] == 1 and heard[1] == 2 and heard[4] == 7
    assert heard[2:4] != b"\x03\x05"


def test_a_crash_and_a_watchdog_reset_the_chip_without_a_word(make: Make) -> None:
    chip, wire, made = make()
    chip.power_on()
    wire.wait(b"echo:")
    chip.receive(b"\x18", wire)  # the application crashes
    wire.wait(b"echo:", times=2)
    assert wire.heard.count(b"\n") == 2
    assert [context.reset_cause for context in made.contexts] == ["power-on", "software"]


def test_an_erase_in_progress_ends_with_a_reset_and_touches_nothing_afterwards(make: Make) -> None:
    chip, wire, _ = make()
    chip._fast = False
    chip.power_on()
    stm32_reset_pulse(chip, boot0=True)
    before = chip.flash.read(0, 0x1000)
    assert answers_as_boot_loader(chip, wire)
    chip.receive(b"\x44\xbb", wire)
    chip.receive(b"\0\0\0\0\0", wire)  # sector 0: a quarter of a second
    stm32_reset_pulse(chip, boot0=True)
    done = threading.Event()
    chip.later(0.3, done.set)
    assert done.wait(5)
    assert chip.flash.read(0, 0x1000) == before
    assert answers_as_boot_loader(chip, wire)


class LinesAndPower(RuleBasedStateMachine):
    """Whatever is done with lines and power: BOOT0 counts at the end of a reset, and only there."""

    def __init__(self) -> None:
        super().__init__()
        flash = flash_of("stm32f405")
        flash.program(0, build("stm32f405", b"\0asm" + bytes(96), version="v1"))
        self.chip = Stm32Chip("stm32f405", flash, MAC, Recorder(), Surroundings(fast=True))
        self.powered, self.lines, self.expected = False, (False, True), "off"

    def teardown(self) -> None:
        self.chip.power_off()

    def _starts(self) -> str:
        return "application" if self.lines[1] else "boot loader"

    @rule(dtr=st.booleans(), rts=st.booleans())
    def drives(self, dtr: bool, rts: bool) -> None:
        """``self.lines`` are NRST low and BOOT0 low."""
        was_low, self.lines = self.lines[0], (dtr, rts)
        if self.powered and dtr:
            self.expected = "reset"
        elif self.powered and was_low:
            self.expected = self._starts()
        self.chip.set_lines(dtr=dtr, rts=rts)

    @rule()
    def leaves(self) -> None:
        was_low, self.lines = self.lines[0], (False, True)
        if self.powered and was_low:
            self.expected = self._starts()
        self.chip.release_lines()

    @rule(on=st.booleans())
    def switches(self, on: bool) -> None:
        if on and not self.powered:
            self.expected = "reset" if self.lines[0] else self._starts()
        elif not on:
            self.expected = "off"
        self.powered = on
        self.chip.power_on() if on else self.chip.power_off()

    @invariant()
    def is_in_the_state_that_the_lines_led_to(self) -> None:
        assert self.chip.powered == self.powered
        assert self.chip.downloading == (self.expected == "boot loader")
        assert (self.chip._life is not None) == (self.expected == "application")


TestLinesAndPower = LinesAndPower.TestCase
TestLinesAndPower.settings = settings(max_examples=30, stateful_step_count=15)
