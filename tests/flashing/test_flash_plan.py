import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.flashing.plan import BLOCK, md5, plan


class Chip:
    """Flash that answers MD5 requests and can be written, as the stub does."""

    def __init__(self, size: int) -> None:
        self.data = bytearray(b"\xff" * size)
        self.asked = 0

    def md5(self, offset: int, size: int) -> str:
        self.asked += 1
        return md5(bytes(self.data[offset : offset + size]))


@given(st.integers(0, 2**32), st.integers(1, 6 * BLOCK), st.sets(st.integers(0, 6 * BLOCK), max_size=5))
def test_writing_the_plan_gives_the_image(seed: int, size: int, flips: set[int]) -> None:
    image = bytearray(random.Random(seed).randbytes(size))
    chip = Chip(8 * BLOCK)
    chip.data[0x1000 : 0x1000 + size] = image
    for at in flips:
        if at < size:
            image[at] ^= 0xFF
    made = plan(0x1000, bytes(image), chip.md5)
    for write in made.writes:
        assert write.offset % 4096 == 0
        chip.data[write.offset : write.offset + len(write.data)] = write.data
    assert bytes(chip.data[0x1000 : 0x1000 + size]) == bytes(image)
    assert made.size + made.unchanged == size
    changed_blocks = {at // BLOCK for at in flips if at < size}
    assert made.size <= len(changed_blocks) * BLOCK


def test_an_unchanged_image_costs_one_question() -> None:
    chip = Chip(2 * BLOCK)
    made = plan(0, bytes(chip.data[:BLOCK]), chip.md5)
    assert (made.writes, made.unchanged, chip.asked) == ((), BLOCK, 1)


def test_an_unaligned_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 4096"):
        plan(100, b"x", Chip(4096).md5)
