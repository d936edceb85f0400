"""``harness rom``: modules pushed and popped from outside, on a virtual board that answers as a real one does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.bench.attach import AttachedBoard, Options, attach
from harness.bench.rom_stack import rom_stack
from harness.errors import Refused
from harness.formats.romfs import build_romfs, compile_module
from harness.inventory.model import Board
from tests.running_boards import tool

GREET = compile_module("greet.py", b"def hello(): return 'from flash'\n")


@pytest.fixture
def attached(tmp_path: Path) -> Iterator[AttachedBoard]:
    board = Board.model_validate(
        {
            "id": "r",
            "chip": "esp32",
            "runtime": "micropython",
            "virtual": {"pace": "fast"},
            "firmware": {"build": "virtual"},
            "capabilities": ["romfs"],
        }
    )
    made = attach(board, Options(tmp_path), lambda *_: None)
    yield made
    made.close()


def test_pushed_modules_run_from_flash_until_they_are_popped(attached: AttachedBoard) -> None:
    runtime = attached.runtime
    attached.write_romfs(build_romfs({"first.mpy": compile_module("first.py", b"WHO = 1\n")}))
    with rom_stack(runtime, attached.abilities) as stack:
        assert stack.names() == ["first.mpy"]
        stack.push({"greet.mpy": GREET, "more.mpy": compile_module("more.py", b"WHO = 2\n")})
        assert stack.names() == ["first.mpy", "greet.mpy", "more.mpy"]
        said = runtime.run("import greet, more\nprint(greet.__file__, greet.hello(), more.WHO)").stdout
        assert said == b"/rom/greet.mpy from flash 2\r\n"
        stack.pop()
        assert stack.names() == ["first.mpy", "greet.mpy"]
        assert b"ImportError" in runtime.run("import more").stderr
        with pytest.raises(Refused, match="there is a module of that name: first.mpy"):
            stack.push({"first.mpy": GREET})
        assert stack.names() == ["first.mpy", "greet.mpy"]
    left = runtime.run(f"import os\nprint(sorted(os.listdir({attached.abilities.base!r})))").stdout
    assert b"hx_files" not in left and b"rom_" not in left


def test_a_vm_without_a_segment_is_told(attached: AttachedBoard) -> None:
    lacking = replace(attached.abilities, rom_size=0)
    with pytest.raises(Refused, match="this VM has no ROMFS segment"), rom_stack(attached.runtime, lacking):
        pass
    homeless = replace(attached.abilities, base="", no_files="the VM has no filesystem to write to (ENODEV)")
    with pytest.raises(Refused, match="the VM has no filesystem"), rom_stack(attached.runtime, homeless):
        pass


def test_a_mistake_is_one_line_and_code_two(tmp_path: Path) -> None:
    bad, other = tmp_path / "bad.py", tmp_path / "notes.txt"
    bad.write_text("x = (")
    other.write_text("")
    for file, words in (
        (bad, "bad.py does not compile"),
        (other, "notes.txt is no module"),
        (tmp_path / "none.py", "none.py cannot be read"),
    ):
        done = tool("harness", "rom", "push", "vesp32", str(file), "--bench", "shipped", check=False)
        assert done.returncode == 2
        assert words in done.stderr and "Traceback" not in done.stderr
