"""The serial loader against hostile and broken frames."""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.virtual.chips import CHIPS
from harness.virtual.flash import Flash
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

    def run_application(self) -> None:
        self.started += 1


def loader(chip: str = "esp32") -> tuple[Loader, Host, Flash]:
    host, flash = Host(), Flash(1024 * 1024)
    return Loader(CHIPS[chip], flash, bytes(6), host), host, flash


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


def test_a_write_past_the_flash_is_refused() -> None:
    unit, host, _ = loader()
    unit.feed(packet(0x02, struct.pack("<IIII", 0x1000, 4, 0x400, 0x0FFF000 * 2)))
    assert answers(host)[-1][8] == 1
