"""``harness rom``: modules pushed and popped from outside, on a virtual board that answers as a real one does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.bench.attach import AttachedBoard, Options, attach
from harness.bench.rom_stack import RomStack, rom_stack
from harness.errors import Refused, UsageError
from harness.formats.romfs import MAGIC, build_romfs, compile_module
from harness.inventory.model import Board
from harness.paths import fixtures_dir
from harness.runtimes.program import Program
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


@pytest.mark.parametrize("step", ["push", "pop"])
def test_ctrl_c_while_the_segment_is_written_loses_no_module(
    attached: AttachedBoard, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The segment is erased by then: what was made ready is all that there is, and the next use goes on with it."""
    runtime, abilities = attached.runtime, attached.abilities
    attached.write_romfs(build_romfs({"first.mpy": GREET, "second.mpy": GREET}))
    do = RomStack._do

    def cut_off(stack: RomStack, line: str) -> None:
        if line == "rom_modules.start()":
            do(stack, "rom_modules._Segment().erase(4096)")
            raise KeyboardInterrupt
        do(stack, line)

    with monkeypatch.context() as patch:
        patch.setattr(RomStack, "_do", cut_off)
        with pytest.raises(KeyboardInterrupt), rom_stack(runtime, abilities) as stack:
            stack.push({"greet.mpy": GREET}) if step == "push" else stack.pop()
    with rom_stack(runtime, abilities) as stack:
        kept = ["first.mpy", "second.mpy", "greet.mpy"] if step == "push" else ["first.mpy"]
        assert stack.names() == kept
    left = runtime.run(f"import os\nprint(sorted(os.listdir({abilities.base!r})))").stdout
    assert b"hx_files" not in left


def test_a_damaged_segment_is_one_line_and_no_fault_of_the_firmware(attached: AttachedBoard) -> None:
    attached.write_romfs(MAGIC + b"\xff" * 16)
    with rom_stack(attached.runtime, attached.abilities) as stack:
        for step in (stack.names, stack.pop, lambda: stack.push({"greet.mpy": GREET})):
            with pytest.raises(Refused, match=r"^the board refuses: ValueError: the segment is damaged at byte 3"):
                step()


def test_names_of_a_segment_are_shown_without_what_moves_a_cursor(attached: AttachedBoard) -> None:
    attached.write_romfs(build_romfs({"a\x1b[2J\r\n   2  forged.mpy  on top": b"xx"}))
    with rom_stack(attached.runtime, attached.abilities) as stack:
        assert stack.names() == ["a / 2  forged.mpy  on top"]


@pytest.mark.parametrize(
    ("data", "words"), [(b"", "no .mpy file"), (b"junk", "no .mpy file"), (b"M\x05\x00\x1f", "version 5")]
)
def test_what_the_vm_would_not_import_is_not_pushed(attached: AttachedBoard, data: bytes, words: str) -> None:
    attached.write_romfs(build_romfs({"first.mpy": GREET}))
    with rom_stack(attached.runtime, attached.abilities) as stack:
        with pytest.raises(UsageError, match=f"old.mpy is {words}; this VM imports .mpy of version 6"):
            stack.push({"greet.mpy": GREET, "old.mpy": data})
        assert stack.names() == ["first.mpy"]


def test_a_vm_without_a_segment_is_told(attached: AttachedBoard) -> None:
    lacking = replace(attached.abilities, rom_size=0)
    with pytest.raises(Refused, match="this VM has no ROMFS segment"), rom_stack(attached.runtime, lacking):
        pass
    homeless = replace(attached.abilities, base="", no_files="the VM has no filesystem to write to (ENODEV)")
    with pytest.raises(Refused, match="the VM has no filesystem"), rom_stack(attached.runtime, homeless):
        pass


def test_a_mistake_is_one_line_and_code_two(tmp_path: Path) -> None:
    bad, other = tmp_path / "bad.py", tmp_path / "notes.txt"
    dotted, accent = tmp_path / "a.b.py", tmp_path / "é.py"
    dotted.write_text("")
    accent.write_text("")
    bad.write_text("x = (")
    other.write_text("")
    for file, words in (
        (bad, "bad.py does not compile"),
        (other, "notes.txt is no module"),
        (tmp_path / "none.py", "none.py cannot be read"),
        (dotted, "no import statement can name it"),
        (accent, "no import statement can name it"),
    ):
        done = tool("harness", "rom", "push", "vesp32", str(file), "--bench", "shipped", check=False)
        assert done.returncode == 2
        assert words in done.stderr and "Traceback" not in done.stderr


def test_a_step_of_the_scenario_is_the_same_when_it_is_done_twice(attached: AttachedBoard) -> None:
    """A program whose records came damaged is run again, and a scenario that was broken off begins anew."""
    runtime, folder = attached.runtime, "/hx_files"
    attached.write_romfs(build_romfs({"first.mpy": compile_module("first.py", b"WHO = 1\n")}))
    module = compile_module("rom_modules.py", (fixtures_dir() / "modules" / "rom_modules.py").read_bytes())
    runtime.run(f"import os\ntry: os.mkdir({folder!r})\nexcept OSError: pass")
    for name, data in (("rom_modules.mpy", module), ("greet.bin", GREET)):
        runtime.put(f"{folder}/{name}", data)
    file = f"{folder}/greet.bin"
    common: dict[str, Any] = {"folder": folder, "path": file, "pushed": "greet.mpy", "module": "none", "length": 16}
    for step, waiting in (("push", "first.mpy, greet.mpy"), ("pop", "nothing")):
        for _ in range(2):
            told = Program.load("rom_stack", step=step, **common).run(runtime)
            assert told.text("names") == "first.mpy"
            assert told.text("waiting") == waiting
