"""The scheduler queue in guest memory against a plain list (MicroPython py/scheduler.c)."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from harness.reference.engine.memory_layout import Layout

IDLE, PENDING = 1, 0


class Memory:
    """As much of a guest's memory as the queue needs."""

    def __init__(self, state: int, index: int) -> None:
        self.data = bytearray(128)
        self.data[60:64] = struct.pack("<hBB", state, 0, index)

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.data[address : address + size])

    def write(self, address: int, data: bytes) -> None:
        self.data[address : address + len(data)] = data

    def read_u32(self, address: int) -> int:
        return int.from_bytes(self.read(address, 4), "little")

    def write_u32(self, address: int, value: int) -> None:
        self.write(address, value.to_bytes(4, "little"))

    def pop(self, depth: int) -> int:
        """What ``mp_sched_run_pending`` takes out."""
        state, length, index = struct.unpack("<hBB", self.read(60, 4))
        function = self.read_u32(8 * index)
        self.write(60, struct.pack("<hBB", state, length - 1, (index + 1) % depth))
        return function


@given(
    st.sampled_from([IDLE, PENDING, -1, -2, -3]),
    st.integers(0, 3),
    st.lists(st.sampled_from(["append", "first", "second", "pop"]), max_size=40),
)
def test_it_is_a_list_of_four_that_keeps_its_lock(state: int, index: int, steps: list[str]) -> None:
    memory, layout = Memory(state, index), Layout(0, 60, 62, 63, 100, 88)
    model: list[int] = []
    for number, step in enumerate(steps, 1):
        if step == "pop":
            if model:
                assert memory.pop(layout.depth) == model.pop(0)
            continue
        at = {"append": None, "first": 0, "second": min(1, len(model))}[step]
        accepted = layout.schedule(memory, number, 0, at=at)
        assert accepted == (len(model) < layout.depth)
        if accepted:
            model.insert(len(model) if at is None else at, number)
            # Scheduling makes an idle queue pending; a lock, however deep, stays what it was.
            assert layout.queue_state(memory)[0] == (PENDING if state == IDLE else state)
            state = layout.queue_state(memory)[0]
        assert layout.queue_state(memory)[1] == len(model)


def test_the_leading_entries_of_one_function_are_counted() -> None:
    memory, layout = Memory(IDLE, 3), Layout(0, 60, 62, 63, 100, 88)
    for function in (7, 7, 9, 7):
        layout.schedule(memory, function, 0)
    assert (layout.leading(memory, 7), layout.leading(memory, 9)) == (2, 0)
