"""The serial loader against hostile and broken frames."""

import dataclasses
import hashlib
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.chips import EsptoolView
from harness.virtual.live_board import virtual_parts
from harness.virtual.nor_flash import Flash
from harness.virtual.rom import Loader, xor_checksum
from harness.virtual.slip import Decoder, encode


class Host:
    def __init__(self) -> None:
        self.sent = bytearray()
        self.started = 0

    def send(self, data: bytes) -> None:
        self.sent += data

    def set_baud(self, baud: int) -> None: ...

    def lock_baud(self) -> None: ...

    def watchdog_armed(self) -> None:
        self.armed = True

    def run_application(self) -> None:
        self.started += 1


def view(chip: str) -> EsptoolView:
    found = virtual_parts(chip).esptool
    assert found is not None
    return found


def loader(chip: str = "esp32") -> tuple[Loader, Host, Flash]:
    host, flash = Host(), Flash(1024 * 1024)
    return Loader(view(chip), flash, bytes(6), host), host, flash


def packet(op: int, body: bytes, checksum: int = 0) -> bytes:
    return encode(struct.pack("<BBHI", 0, op, len(body), checksum) + body)


def answers(host: Host) -> list[bytes]:
    return Decoder().feed(bytes(host.sent))


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=6), st.integers(1, 50))
def test_slip_survives_any_cut(frames: list[bytes], cut: int) -> None:
    stream = b"".join(map(encode, frames))
    decoder = Decoder()
    got = [f for at in range(0, len(stream), cut) for f in decoder.feed(stream[at : at + cut])]
    assert got == frames


@given(st.binary(min_size=1, max_size=3000))
def test_folded_checksum_is_the_plain_xor(data: bytes) -> None:
    plain = 0xEF
    for byte in data:
        plain ^= byte
    assert xor_checksum(data) == plain


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=80), st.booleans()), max_size=12),
    st.sampled_from(["esp32", "esp8266"]),
)
def test_no_frame_breaks_it(packets: list[tuple[int, bytes, bool]], chip: str) -> None:
    unit, host, _ = loader(chip)
    for op, body, whole in packets:
        data = packet(op, body)
        unit.feed(data if whole else data[: len(data) // 2] + b"\xc0")
    host.sent.clear()
    unit.feed(packet(0x08, b"\x07\x07\x12\x20" + b"\x55" * 32))
    assert len([a for a in answers(host) if a[1] == 0x08]) == 8


def test_a_damaged_block_is_refused_and_nothing_is_written() -> None:
    unit, host, flash = loader()
    unit.feed(packet(0x02, struct.pack("<IIII", 0x400, 1, 0x400, 0x1000)))
    block = bytes(range(256)) * 4
    body = struct.pack("<IIII", len(block), 0, 0, 0) + block
    unit.feed(packet(0x03, body, checksum=xor_checksum(block) ^ 1))
    assert answers(host)[-1][8:10] == b"\x01\x07"
    assert flash.read(0x1000, 0x400) == b"\xff" * 0x400
    unit.feed(packet(0x03, body, checksum=xor_checksum(block)))
    assert answers(host)[-1][8:10] == b"\0\0"
    assert flash.read(0x1000, 0x400) == block


def block(sequence: int, data: bytes, op: int = 0x11) -> bytes:
    return packet(op, struct.pack("<IIII", len(data), sequence, 0, 0) + data, checksum=xor_checksum(data))


def status(host: Host, size: int = 2) -> bytes:
    return answers(host)[-1][-size:]


def stub(chip: str = "esp32") -> tuple[Loader, Host, Flash]:
    unit, host, flash = loader(chip)
    unit.feed(packet(0x06, struct.pack("<II", 0, 0x400A902C)))
    assert answers(host)[-1] == b"OHAI"
    return unit, host, flash


def deflate_begin(size: int, offset: int = 0) -> bytes:
    return packet(0x10, struct.pack("<IIII", size, 1, 0x4000, offset))


def test_data_after_the_end_of_a_compressed_stream_is_refused_and_not_kept() -> None:
    unit, host, flash = stub()
    unit.feed(deflate_begin(0x10000))
    unit.feed(block(0, zlib.compress(b"abc")))
    for _ in range(20):
        unit.feed(block(1, bytes(0x4000)))
        assert status(host) == b"\x01\xc9"
    assert flash.read(0, 4) == b"abc\xff"


def test_a_compressed_stream_cannot_write_more_than_was_announced() -> None:
    unit, host, flash = stub()
    unit.feed(deflate_begin(0x1000, 0x4000))
    unit.feed(block(0, zlib.compress(bytes(10_000_000), 9)))
    assert status(host) == b"\x01\xc9"
    assert flash.read(0x4000, 0x2000) == b"\xff" * 0x2000


def test_a_compressed_stream_that_ends_early_is_noticed() -> None:
    unit, host, _ = stub()
    unit.feed(deflate_begin(0x1000))
    unit.feed(block(0, zlib.compress(bytes(100))))
    unit.feed(packet(0x12, struct.pack("<I", 1)))
    assert status(host) == b"\x01\xc8"


def test_a_block_sent_twice_is_written_once() -> None:
    """The host repeats a block whose answer it did not get."""
    unit, host, flash = stub()
    unit.feed(deflate_begin(8))
    packed = zlib.compress(b"abcdefgh")
    for sequence, part in ((0, packed[:5]), (0, packed[:5]), (1, packed[5:])):
        unit.feed(block(sequence, part))
        assert status(host) == b"\0\0"
    assert flash.read(0, 8) == b"abcdefgh"


def test_an_endless_frame_is_dropped_and_the_next_one_answered() -> None:
    unit, host, _ = loader()
    for _ in range(40):
        unit.feed(b"\xc0" + bytes(0x4000) if not _ else bytes(0x4000))
        assert len(unit._decoder._tail) <= 64 * 1024
    unit.feed(packet(0x0A, struct.pack("<I", 0x40001000)))
    assert struct.unpack_from("<I", answers(host)[-1], 4)[0] == 0x00F01D83


def test_status_is_four_bytes_in_the_esp32_rom_and_two_elsewhere() -> None:
    read_magic = packet(0x0A, struct.pack("<I", 0x40001000))
    for (unit, host, _), size in ((loader("esp32"), 4), (loader("esp8266"), 2), (stub("esp32"), 2)):
        unit.feed(read_magic)
        assert answers(host)[-1][8:] == bytes(size)


@pytest.mark.parametrize(("chip", "op"), [("esp8266", 0x13), ("esp8266", 0x0F), ("esp32", 0xD0), ("esp32", 0x14)])
def test_what_a_rom_cannot_is_refused_under_another_number(chip: str, op: int) -> None:
    unit, host, _ = loader(chip)
    unit.feed(packet(op, struct.pack("<IIII", 0, 16, 0, 0)))
    answer = answers(host)[-1]
    assert answer[1] != op
    assert answer[8:10] == b"\x01\x05"


def test_the_esp8266_rom_erases_more_than_it_is_asked_to() -> None:
    """Its known defect; 20 sectors from sector 4: 12 to the end of the 64 kB block count twice."""
    unit, _, flash = loader("esp8266")
    flash.program(0, bytes(flash.size))
    unit.feed(packet(0x02, struct.pack("<IIII", 20 * 4096, 0, 0x400, 4 * 4096)))
    erased = [sector for sector in range(64) if flash.read(sector * 4096, 1) == b"\xff"]
    assert erased == list(range(4, 4 + 32))


def test_a_stubs_read_sends_no_more_than_the_window() -> None:
    unit, host, flash = stub()
    flash.program(0, bytes(range(256)) * 64)
    host.sent.clear()
    unit.feed(packet(0xD2, struct.pack("<IIII", 0, 0x4000, 0x1000, 2)))
    assert [len(a) for a in answers(host)[1:]] == [0x1000, 0x1000]
    for total in (0x1000, 0x2000, 0x3000, 0x4000):
        unit.feed(encode(struct.pack("<I", total)))
    frames = answers(host)[1:]
    assert b"".join(frames[:4]) == bytes(range(256)) * 64
    assert frames[4] == hashlib.md5(bytes(range(256)) * 64).digest()


def test_the_next_chip_is_a_table_entry() -> None:
    """An ESP32-C3 as its ROM shows itself: another status, chip id and MAC address; no other code."""
    c3 = dataclasses.replace(view("esp32"), name="esp32c3", mac_at=0x60008844, chip_id=5, registers={})
    host = Host()
    unit = Loader(c3, Flash(1024 * 1024), bytes.fromhex("020304050607"), host)
    unit.feed(packet(0x14, b""))
    answer = answers(host)[-1]
    assert (answer[1], len(answer)) == (0x14, 8 + 20 + 4)
    assert struct.unpack_from("<I", answer, 8 + 12)[0] == 5
    unit.feed(packet(0x0A, struct.pack("<I", 0x60008844)))
    assert struct.unpack_from("<I", answers(host)[-1], 4)[0] == 0x04050607


def test_a_write_past_the_flash_is_refused() -> None:
    unit, host, _ = loader()
    unit.feed(packet(0x02, struct.pack("<IIII", 0x1000, 4, 0x400, 0x0FFF000 * 2)))
    assert answers(host)[-1][8] == 1
