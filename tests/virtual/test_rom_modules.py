"""The stack of modules in flash, on the boards themselves: what lies in the segment is what upstream's tools make."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.formats.romfs import build_romfs, compile_module
from harness.paths import fixtures_dir
from harness.virtual.bench import RunningBoard
from tests.running_boards import programmed_board, tool

MODULE = fixtures_dir() / "modules" / "rom_modules.py"


@pytest.fixture(params=["esp32", "esp8266", "stm32f405"])
def board(request: pytest.FixtureRequest, tmp_path: Path, firmware_files: dict[str, Path]) -> Iterator[RunningBoard]:
    """A virtual board of each family with an empty segment, and the module on it."""
    with programmed_board(request.param, tmp_path / "state", firmware_files[request.param]) as board:
        compiled = tmp_path / "rom_modules.mpy"
        compiled.write_bytes(compile_module("rom_modules.py", MODULE.read_bytes()))
        do(board, "fs", "cp", str(compiled), ":rom_modules.mpy")
        yield board


def do(board: RunningBoard, *arguments: str) -> str:
    assert board.pty
    return tool("mpremote", "connect", board.pty, "resume", *arguments).stdout.replace("\r\n", "\n")


def run(board: RunningBoard, *lines: str) -> list[str]:
    return do(board, "exec", "import rom_modules as r\n" + "\n".join(lines)).splitlines()


def reset(board: RunningBoard) -> None:
    do(board, "soft-reset")


def held(board: RunningBoard, length: int) -> bytes:
    said = run(board, "import vfs, binascii", f"print(binascii.hexlify(memoryview(vfs.rom_ioctl(2,0))[:{length}]))")
    return bytes.fromhex(said[0][2:-1])


def module(number: int) -> bytes:
    return compile_module(f"m{number}.py", f"WHO = {number}\ndef name(): return 'module number {number}'\n".encode())


def put(board: RunningBoard, tmp_path: Path, number: int) -> bytes:
    path = tmp_path / f"m{number}.mpy"
    path.write_bytes(module(number))
    do(board, "fs", "cp", str(path), f":m{number}.mpy")
    run(board, f"r.push('m{number}.mpy')", "import os", f"os.remove('m{number}.mpy')")
    return path.read_bytes()


@pytest.mark.holds("place.push", "place.after-reset", "place.pop", "place.stack")
def test_pushed_used_after_a_reset_popped_and_erased(board: RunningBoard, tmp_path: Path) -> None:
    one = put(board, tmp_path, 1)
    two = put(board, tmp_path, 2)
    gone = "try:\n import m1\n print('there')\nexcept ImportError:\n print('not there')"
    assert run(board, gone, "print(r.names(), r.waiting())") == ["not there", "[] ['m1.mpy', 'm2.mpy']"]

    reset(board)
    expected = build_romfs({"m1.mpy": one, "m2.mpy": two})
    assert run(board, "print(r.start())", "import m1, m2", "print(m1.__file__, m2.name())") == [
        "True",
        "/rom/m1.mpy module number 2",
    ]
    assert held(board, len(expected)) == expected
    reset(board)  # the VM mounts it by itself now
    assert run(board, "import m2", "print(m2.__file__, r.start(), r.names())") == [
        "/rom/m2.mpy False ['m1.mpy', 'm2.mpy']"
    ]

    assert run(board, "import m2", "r.pop()", "print(m2.name(), r.names())") == [
        "module number 2 ['m1.mpy', 'm2.mpy']"  # its code and its names lie there until nothing points to them
    ]
    reset(board)
    run(board, "r.start()")
    reset(board)
    alone = build_romfs({"m1.mpy": one})
    assert held(board, len(expected)) == alone + b"\xff" * (len(expected) - len(alone))
    assert run(board, "import m1", gone.replace("m1", "m2")) == ["not there"]

    run(board, "r.pop()", "r.start()")
    assert held(board, len(expected)) == b"\xff" * len(expected)
    reset(board)
    assert run(board, gone, "print(r.names())") == ["not there", "[]"]


@pytest.mark.parametrize("board", ["esp8266"], indirect=True)
def test_what_cannot_be_pushed_or_popped_changes_nothing(board: RunningBoard, tmp_path: Path) -> None:
    put(board, tmp_path, 1)
    run(board, "r.start()")
    tell = "def tell(f, *a):\n try:\n  f(*a)\n  print('done')\n except (OSError, ValueError, IndexError) as e:\n"
    tell += "  print(type(e).__name__, str(e).split('] ')[-1])\n"
    files = "import os\nwith open('m1.py', 'w') as f: f.write('1')"
    assert run(board, tell, files, "tell(r.push, 'm1.py')", "tell(r.push, 'none.mpy')") == [
        "ValueError there is a module of that name: m1.py",
        "OSError ENOENT",
    ]
    small = "class Small(r._Segment):\n def __init__(self):\n  super().__init__()\n  self.data = self.data[:150]\n"
    small += "whole, r._Segment = r._Segment, Small\nwith open('big.mpy', 'wb') as f: f.write(b'x' * 90)\n"
    said = run(board, tell, small, "tell(r.push, 'big.mpy')", "r._Segment = whole")
    assert said[0].startswith("OSError no room: ")
    files_left = "print(sorted(n for n in __import__('os').listdir() if n.startswith('rom_')))"
    assert run(board, files_left, "print(r.names(), r.waiting())") == ["['rom_modules.mpy']", "['m1.mpy'] None"]
    assert run(board, tell, "r.pop()", "tell(r.pop)") == ["IndexError there is no module to pop"]


@pytest.mark.parametrize("board", ["esp32"], indirect=True)
@pytest.mark.parametrize("cut", [1, 2])
def test_a_cut_while_it_is_written_is_made_good_by_the_next_start(
    board: RunningBoard, tmp_path: Path, cut: int
) -> None:
    """Power that fails after so many writes to the segment: it is not mounted then, and whole after the next start."""
    one = put(board, tmp_path, 1)
    two = put(board, tmp_path, 2)
    broken = f"class Cut(Exception): pass\nleft = [{cut - 1}]\nwrite = r._Segment.write\n"
    broken += "def until(self, at, data):\n if not left[0]: raise Cut\n left[0] -= 1\n write(self, at, data)\n"
    broken += "r._Segment.write = until\ntry:\n r.start()\n print('whole')\nexcept Cut: print('cut')"
    expected = build_romfs({"m1.mpy": one, "m2.mpy": two})
    writes = -(-len(expected) // 256)
    assert run(board, broken) == ["cut" if cut <= writes else "whole"]
    reset(board)
    if cut <= writes:
        assert run(board, "import os", "print('rom' in os.listdir('/'))") == ["False"]
        assert run(board, "print(r.start())") == ["True"]
    reset(board)
    assert held(board, len(expected)) == expected
    assert run(board, "import m2", "print(m2.name())") == ["module number 2"]


@pytest.mark.parametrize("board", ["stm32f405"], indirect=True)
def test_it_goes_on_where_mpremote_left_the_segment(board: RunningBoard, tmp_path: Path) -> None:
    folder = tmp_path / "lib"
    folder.mkdir()
    (folder / "theirs.mpy").write_bytes(module(7))
    assert "ROMFS image deployed" in do(board, "romfs", "deploy", str(folder))
    reset(board)
    put(board, tmp_path, 1)
    reset(board)
    run(board, "r.start()")
    reset(board)
    assert run(board, "import theirs, m1", "print(theirs.WHO, m1.WHO, r.names())") == ["7 1 ['theirs.mpy', 'm1.mpy']"]
    assert "ROMFS image size: " in do(board, "romfs", "query")
