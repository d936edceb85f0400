"""The system-memory boot loader (AN3155) against good, damaged and hostile conversations."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import xor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.chips import CHIPS as ALL_CHIPS
from harness.chips import STM32_FLASH_BASE, Stm32LoaderView
from harness.virtual.nor_flash import Flash
from harness.virtual.stm32.bootloader import ACK, NACK, Bootloader
from harness.virtual.stm32.options import Options
from harness.virtual.stm32.stm32_chip import flash_of

CHIPS = {chip.name: chip.virtual.stm32 for chip in ALL_CHIPS.values() if chip.virtual and chip.virtual.stm32}

F4, L4 = CHIPS["stm32f405"], CHIPS["stm32l476"]
UID = bytes(range(12))
NEEDS_OPEN = (0x11, 0x21, 0x31, 0x44, 0x63, 0x73, 0x82)


class Host:
    """Stands for the chip: a clock that only :meth:`wait` moves."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.went: list[int] = []
        self.resets = 0
        self.waited: list[float] = []
        self.due: Callable[[], None] | None = None

    def send(self, data: bytes) -> None:
        self.sent += data

    def lock_baud(self) -> None: ...

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        assert self.due is None
        self.waited.append(seconds)
        self.due = action

    def wait(self) -> None:
        while self.due is not None:
            due, self.due = self.due, None
            due()

    def go(self, address: int) -> None:
        self.went.append(address)

    def reset(self) -> None:
        self.resets += 1


class Talk:
    """A boot loader that is synchronised, and its host's side of the protocol."""

    def __init__(self, spec: Stm32LoaderView = F4, *, fast: bool = True) -> None:
        self.spec, self.host = spec, Host()
        self.flash: Flash = flash_of(spec.name)
        self.options = Options(spec)
        self.loader = Bootloader(spec, self.flash, self.options, UID, self.host, fast=fast)
        assert self.say(b"\x7f") == ACK

    def say(self, data: bytes) -> bytes:
        """What is answered at once."""
        self.host.sent.clear()
        self.loader.feed(data)
        return bytes(self.host.sent)

    def command(self, code: int) -> bytes:
        return self.say(bytes([code, code ^ 0xFF]))

    def address(self, address: int) -> bytes:
        data = address.to_bytes(4, "big")
        return self.say(data + bytes([reduce(xor, data)]))

    def read(self, address: int, size: int) -> bytes | None:
        assert self.command(0x11) == ACK
        if self.address(address) == NACK:
            return None
        answer = self.say(bytes([size - 1, (size - 1) ^ 0xFF]))
        return None if answer == NACK else answer.removeprefix(ACK)

    def write(self, address: int, data: bytes) -> bytes:
        assert self.command(0x31) == ACK
        if self.address(address) == NACK:
            return NACK
        count = len(data) - 1
        return self.say(bytes([count]) + data + bytes([reduce(xor, data, count)]))

    def erase(self, pages: list[int]) -> bytes:
        assert self.command(0x44) == ACK
        body = b"".join(number.to_bytes(2, "big") for number in (len(pages) - 1, *pages))
        return self.say(body + bytes([reduce(xor, body)]))

    def erase_code(self, code: int) -> bytes:
        assert self.command(0x44) == ACK
        return self.say(code.to_bytes(2, "big") + bytes([code >> 8 ^ code & 0xFF]))


def test_get_tells_the_version_and_each_command() -> None:
    talk = Talk()
    codes = bytes([0, 1, 2, 0x11, 0x21, 0x31, 0x44, 0x63, 0x73, 0x82, 0x92])
    assert talk.command(0x00) == ACK + bytes([11, 0x31]) + codes + ACK
    assert talk.command(0x01) == ACK + b"\x31\0\0" + ACK
    assert talk.command(0x02) == ACK + b"\x01\x04\x13" + ACK


def test_a_second_sync_is_half_a_pair_and_the_third_makes_a_bad_one() -> None:
    talk = Talk()
    assert talk.say(b"\x7f") == b""
    assert talk.say(b"\x7f") == NACK
    assert talk.command(0x02).startswith(ACK)


def test_nothing_but_the_sync_is_answered_before_it() -> None:
    host = Host()
    loader = Bootloader(F4, flash_of("stm32f405"), Options(F4), UID, host)
    loader.feed(bytes(0x7F) + b"\x80\xff")
    assert host.sent == b""


def test_a_damaged_command_address_or_count_is_refused() -> None:
    talk = Talk()
    assert talk.say(b"\x00\xfe") == NACK
    assert talk.say(b"\x43\xbc") == NACK  # the short erase is another version's
    assert talk.command(0x11) == ACK
    assert talk.say(b"\x08\0\0\0\x09") == NACK
    assert talk.command(0x11) == ACK
    assert talk.address(STM32_FLASH_BASE) == ACK
    assert talk.say(b"\x03\x03") == NACK
    assert talk.write(STM32_FLASH_BASE, b"123") == NACK  # not a multiple of 4
    assert talk.flash.blank(0, 4)


@pytest.mark.parametrize("spec", CHIPS.values(), ids=list(CHIPS))
def test_the_signature_stands_at_its_addresses(spec: Stm32LoaderView) -> None:
    talk = Talk(spec)
    assert talk.read(spec.uid_at, 12) == UID
    assert talk.read(spec.size_at, 2) == (512 if spec.name == "stm32f411" else 1024).to_bytes(2, "little")
    assert talk.read(spec.option_areas[0][0], 4) is not None
    assert talk.read(STM32_FLASH_BASE + spec.flash_size - 4, 8) is None
    assert talk.read(0x6000_0000, 4) is None


def test_f405_sectors_have_their_sizes() -> None:
    assert F4.flash_size == 1024 * 1024
    assert [F4.starts[n] for n in (1, 4, 5, 11)] == [0x4000, 0x1_0000, 0x2_0000, 0xE_0000]
    talk = Talk()
    talk.flash.program(0, bytes(F4.flash_size))
    assert talk.erase([4]) == ACK
    assert talk.flash.blank(0x1_0000, 0x1_0000)
    assert talk.flash.read(0xFFFF, 1) == talk.flash.read(0x2_0000, 1) == b"\0"
    assert talk.erase([12]) == NACK


def test_l476_pages_and_banks_are_erased_alone() -> None:
    talk = Talk(L4)
    talk.flash.program(0, bytes(L4.flash_size))
    assert talk.erase([1, 511]) == ACK
    assert talk.flash.blank(0x800, 0x800) and talk.flash.blank(0xF_F800, 0x800)
    assert talk.flash.read(0x7FF, 1) == talk.flash.read(0x1000, 1) == b"\0"
    assert talk.erase_code(0xFFFE) == ACK
    assert talk.flash.blank(0, 0x8_0000) and not talk.flash.blank(0x8_0000, 0x800)
    assert talk.erase_code(0xFFFD) == ACK
    assert talk.flash.blank(0, L4.flash_size)


def test_a_chip_with_one_bank_refuses_bank_codes_and_takes_a_mass_erase() -> None:
    talk = Talk()
    talk.flash.program(0, bytes(16))
    assert talk.erase_code(0xFFFE) == NACK
    assert talk.erase_code(0xFFF5) == NACK
    assert not talk.flash.blank(0, 16)
    assert talk.erase_code(0xFFFF) == ACK
    assert talk.flash.blank(0, F4.flash_size)


def test_an_erase_with_a_wrong_checksum_erases_nothing() -> None:
    talk = Talk()
    talk.flash.program(0, bytes(16))
    talk.command(0x44)
    assert talk.say(b"\0\0\0\0\x01") == NACK
    talk.command(0x44)
    assert talk.say(b"\xff\xff\x01") == NACK
    assert talk.flash.read(0, 16) == bytes(16)


def test_writing_clears_bits_on_an_f4_and_fails_on_an_l4_that_is_not_erased() -> None:
    f4, l4 = Talk(F4), Talk(L4)
    for talk in (f4, l4):
        assert talk.write(STM32_FLASH_BASE + 8, b"\xf0" * 8) == ACK
    assert f4.write(STM32_FLASH_BASE + 8, b"\x3c" * 8) == ACK
    assert f4.read(STM32_FLASH_BASE + 8, 8) == b"\x30" * 8
    assert l4.write(STM32_FLASH_BASE + 8, b"\x3c" * 8) == NACK
    assert l4.read(STM32_FLASH_BASE + 8, 8) == b"\xf0" * 8
    assert l4.write(STM32_FLASH_BASE + 20, b"1234") == NACK  # inside a double word
    assert l4.write(STM32_FLASH_BASE + 24, b"1234") == ACK  # the rest of the double word is used up with it
    assert l4.read(STM32_FLASH_BASE + 24, 8) == b"1234\xff\xff\xff\xff"
    assert l4.write(STM32_FLASH_BASE + 24, b"12345678") == NACK


def test_ram_can_be_written_and_read() -> None:
    talk = Talk()
    assert talk.write(0x2000_4000, b"abcd") == ACK
    assert talk.read(0x2000_4000, 4) == b"abcd"
    assert talk.write(0x2001_FFFC, b"12345678") == NACK


def test_go_jumps_to_where_memory_is() -> None:
    talk = Talk()
    assert talk.command(0x21) == ACK
    assert talk.address(STM32_FLASH_BASE) == ACK
    assert talk.command(0x21) == ACK
    assert talk.address(0x6000_0000) == NACK
    assert talk.host.went == [STM32_FLASH_BASE]


# -- protection ----------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", CHIPS.values(), ids=list(CHIPS))
def test_readout_protection_refuses_all_but_identity_and_its_own_end(spec: Stm32LoaderView) -> None:
    talk = Talk(spec)
    talk.write(STM32_FLASH_BASE, b"secret!!")
    assert talk.command(0x82) == ACK + ACK
    assert (talk.options.level, talk.host.resets) == (1, 1)
    for code in NEEDS_OPEN:
        assert talk.command(code) == NACK
    assert talk.command(0x02).startswith(ACK)
    assert talk.command(0x92) == ACK + ACK
    assert (talk.options.level, talk.host.resets) == (0, 2)
    assert talk.flash.blank(0, spec.flash_size)


@pytest.mark.parametrize("spec", CHIPS.values(), ids=list(CHIPS))
def test_a_write_protected_page_stays_as_it_is_and_nobody_is_told(spec: Stm32LoaderView) -> None:
    talk = Talk(spec)
    talk.write(STM32_FLASH_BASE, b"original")
    assert talk.command(0x63) == ACK
    assert talk.say(bytes([0, 0, 0])) == ACK
    assert talk.options.protected(0) and not talk.options.protected(1)
    assert talk.erase([0]) == ACK
    assert talk.write(STM32_FLASH_BASE, b"12345678") == ACK
    assert talk.read(STM32_FLASH_BASE, 8) == b"original"
    assert talk.command(0x73) == ACK + ACK
    assert not talk.options.protected(0)
    assert talk.erase([0]) == ACK
    assert talk.flash.blank(0, 8)


def test_protecting_pages_that_are_not_there_is_refused() -> None:
    talk = Talk()
    assert talk.command(0x63) == ACK
    assert talk.say(bytes([0, 12, 12])) == NACK
    assert talk.host.resets == 0


def test_writing_the_option_bytes_changes_the_level_and_resets() -> None:
    talk = Talk(F4)
    area = talk.read(0x1FFF_C000, 4)
    assert area is not None and area[1] == 0xAA
    assert talk.write(0x1FFF_C000, bytes([area[0], 0xCC]) + area[2:]) == ACK
    assert (talk.options.level, talk.host.resets) == (2, 1)


def test_option_bytes_are_kept_by_their_store() -> None:
    store = Flash(4096)
    Options(L4, store).protect([3, 300])
    Options(L4, store).protect_readout()
    again = Options(L4, store)
    assert again.level == 1
    assert [page for page in (2, 3, 4, 299, 300, 301) if again.protected(page)] == [3, 300]


# -- time ----------------------------------------------------------------------------------------


def test_erasing_takes_the_data_sheets_time_and_what_is_said_meanwhile_waits() -> None:
    talk = Talk(fast=False)
    assert talk.erase([0, 5]) == b""
    assert talk.command(0x02) == b""
    talk.host.wait()
    assert talk.host.waited == [0.25, 1.0]
    assert talk.host.sent == ACK + ACK + b"\x01\x04\x13" + ACK


def test_an_erase_that_is_cut_short_has_erased_the_pages_before() -> None:
    talk = Talk(fast=False)
    talk.flash.program(0, bytes(0x1_0000))
    talk.erase([0, 1])
    assert talk.host.due is not None
    due, talk.host.due = talk.host.due, None
    due()  # the first page's time is over; then the power goes
    assert talk.flash.blank(0, 0x4000)
    assert talk.flash.read(0x4000, 4) == bytes(4)


# -- hostile -------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.binary(min_size=1, max_size=40),
            st.sampled_from([0x00, 0x01, 0x02, *NEEDS_OPEN, 0x92]).map(lambda code: bytes([code, code ^ 0xFF])),
            st.sampled_from([b"\x7f", b"\x08\0\0\0\x08", b"\xff\xff\0", b"\0\0\0\0\0"]),
        ),
        max_size=12,
    ),
    st.integers(1, 7),
)
def test_the_same_bytes_in_other_pieces_get_the_same_answers(chunks: list[bytes], cut: int) -> None:
    """Whatever they are: no chunk of the line is taken for a frame, and nothing escapes."""
    pieces, whole = Talk(), Talk()
    stream = b"".join(chunks)
    answers = b"".join(pieces.say(stream[at : at + cut]) for at in range(0, len(stream), cut))
    assert answers == whole.say(stream)
    assert pieces.options.level == whole.options.level


@settings(max_examples=40)
@given(st.data())
def test_what_is_written_is_read_back_whatever_its_place_and_size(data: st.DataObject) -> None:
    spec = data.draw(st.sampled_from([F4, L4]))
    talk = Talk(spec)
    offset = data.draw(st.integers(0, spec.flash_size // 8 - 32)) * 8
    content = data.draw(st.binary(min_size=1, max_size=64).map(lambda b: b.ljust(-(-len(b) // 4) * 4, b"\xff")))
    assert talk.write(STM32_FLASH_BASE + offset, content) == ACK
    assert talk.read(STM32_FLASH_BASE + offset, len(content)) == content
    for page in spec.pages_at(offset, len(content)):
        assert talk.erase([page]) == ACK
    assert talk.flash.blank(0, spec.flash_size)
