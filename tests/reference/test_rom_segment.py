"""``fixtures/modules/rom_modules.py`` and what a segment may hold: anything, after a power cut or another's tool."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.formats.romfs import MAGIC, build_romfs, compile_module
from harness.paths import fixtures_dir
from harness.reference.vm import ReferenceVm

SIZE = 4096
#: The module with a segment of ``SIZE`` bytes in RAM, as a port's partition that has blocks.
MODULE = compile_module("rom_modules.py", (fixtures_dir() / "modules" / "rom_modules.py").read_bytes())
SEGMENT = f"""
import rom_modules as r, vfs
class Device:
    def ioctl(self, op, block):
        if op == 6: blank(block)
        return 512
    def writeblocks(self, block, part, at):
        at += 512 * block
        data[at:at + len(part)] = part
class Segment(r._Segment):
    def __init__(self):
        self._device, self._blocks, self._unit, self.data = Device(), True, 1, memoryview(data)
r._Segment, r.mount = Segment, lambda: None
data = bytearray({SIZE})
def blank(block): data[512 * block:512 * block + 512] = b"\\xff" * 512
def fresh():
    for block in range({SIZE} // 512): blank(block)
def tell(f, *a):
    try: print(f(*a))
    except Exception as e: print(type(e).__name__, e)
"""
DAMAGED = "ValueError the segment is damaged at byte "


@pytest.fixture(scope="module")
def vm() -> Iterator[ReferenceVm]:
    with ReferenceVm() as vm:
        vm.put("rom_modules.mpy", MODULE)
        assert vm.run(SEGMENT).stderr == b""
        yield vm


def said(vm: ReferenceVm, content: bytes, *lines: str) -> list[str]:
    fill = f"fresh()\ndata[:{len(content)}] = {content!r}\n"
    result = vm.run(fill + "\n".join(lines), timeout=30)
    assert result.stderr.decode() == ""
    return result.stdout.decode().splitlines()


@pytest.mark.parametrize(
    "content",
    [
        MAGIC,  # erased flash follows: a number without an end
        MAGIC + b"\x80" * 1000,
        MAGIC + b"\x9f\x7f",  # 4095 bytes of content, more than there are behind the header
        MAGIC + b"\x08\x05\x7f\x01a\x02\x00",  # a record that ends beyond the filesystem
        MAGIC + b"\x08\x05\x06\x09a\x02\x02xx",  # a name that ends beyond its record
        MAGIC + b"\x08\x05\x06\x01\xff\x02\x02xx",  # a name that is no text
        MAGIC + b"\x88\x00" + b"\x00" * 1024,  # records of a kind that there is not
    ],
)
def test_a_damaged_segment_is_told_and_the_next_start_mends_it(vm: ReferenceVm, content: bytes) -> None:
    names, popped = said(vm, content, "tell(r.names)", "tell(r.pop)")
    assert names.startswith(DAMAGED) and popped.startswith(DAMAGED)

    write = "open('m.mpy', 'wb').write(b'xx')\nfresh()\nr.push('m.mpy')\n"
    cut = write + f"data[:{len(content)}] = {content!r}"  # power failed while the first bytes were written
    assert said(vm, b"", cut, "tell(r.start)", "tell(r.names)") == ["True", "['m.mpy']"]
    expected = build_romfs({"m.mpy": b"xx"})
    same = f"print(data[:{len(expected)}] == {expected!r}, set(data[{len(expected)}:]))"
    assert said(vm, b"", cut, "tell(r.start)", same) == ["True", "True {255}"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(
        st.binary(max_size=40).map(lambda tail: MAGIC + tail),
        st.lists(
            st.tuples(st.sampled_from([0, 1, 2, 4, 5, 9]), st.binary(max_size=20)).map(
                lambda record: bytes([record[0], len(record[1])]) + record[1]
            )
        ).map(lambda records: MAGIC + bytes([min(127, sum(map(len, records)))]) + b"".join(records)),
    )
)
def test_whatever_a_segment_holds_is_names_or_damage(vm: ReferenceVm, content: bytes) -> None:
    (answer,) = said(vm, content, "tell(r.names)")
    assert answer.startswith(("[", DAMAGED))


def test_padding_is_no_module_and_a_directory_is_one(vm: ReferenceVm) -> None:
    padded = b"\x01\x02\x00\x00" + b"\x05\x06\x01a\x02\x02xx" + b"\x04\x02\x01d"
    assert said(vm, MAGIC + bytes([len(padded)]) + padded, "tell(r.names)") == ["['a', 'd']"]


def test_a_name_is_as_long_as_its_bytes_and_has_no_folder(vm: ReferenceVm) -> None:
    write = "open('m.mpy', 'wb').write(b'xx')"
    lines = [
        write,
        "r.push('m.mpy', 'mäß.mpy')",
        "r.push('m.mpy', 'n.mpy')",
        "tell(r.start)",
        "print(r.names() == ['mäß.mpy', 'n.mpy'])",
    ]
    assert said(vm, b"", *lines) == ["True", "True"]
    for name in ("a/b.mpy", "/m.mpy"):
        assert said(vm, b"", f"tell(r.push, 'm.mpy', {name!r})")[0].startswith("ValueError a module's name is one name")
    assert said(vm, b"", "tell(r.waiting)") == ["None"]


@pytest.mark.parametrize("writes", [1, 2])
def test_cut_off_before_the_last_write_it_holds_nothing_that_a_vm_would_mount(vm: ReferenceVm, writes: int) -> None:
    lines = [
        "with open('m.mpy', 'wb') as f: f.write(b'x' * 600)",  # three writes
        "r.push('m.mpy')",
        f"write, left = r._Segment.write, [{writes}]",
        "def until(self, at, part):\n if not left[0]: raise OSError(5)\n left[0] -= 1\n write(self, at, part)",
        "r._Segment.write = until",
        "tell(r.start)",
        "r._Segment.write = write",
        "print(data[:3] == b'\\xff' * 3)",
        "tell(r.start)",
        "tell(r.names)",
    ]
    assert said(vm, b"", "\n".join(lines))[1:] == ["True", "True", "['m.mpy']"]


def test_a_file_that_cannot_be_written_whole_is_taken_away(vm: ReferenceVm) -> None:
    """A filesystem that is full: what fits of the image would only keep it so."""
    lines = [
        "with open('m.mpy', 'wb') as f: f.write(b'x' * 600)",
        "class Short:\n def read(self, n): return b''",
        "import os",
        "tell(r._prepare, 'n.mpy', b'', 600, Short())",
        "print([n for n in os.listdir() if n.startswith('rom_') and n.endswith('.bin')], r.waiting())",
    ]
    answer, left = said(vm, b"", *lines)
    assert answer.startswith("OSError") and left == "[] None"
