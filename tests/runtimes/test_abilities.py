"""What a VM says it can do: asked of a real one (the reference), of one that lacks things, and of one that lies."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BenchFault
from harness.reference.vm import ReferenceVm
from harness.runtimes.abilities import OWN_FOLDER, Abilities
from harness.runtimes.interface import RunResult
from harness.runtimes.micropython.ask_abilities import ask_abilities
from harness.runtimes.micropython.file_programs import SET_ASIDE, SWEEP
from harness.runtimes.own_files import set_aside

NO_FILES = "def open(*_):\n raise OSError(19)\n"
ONLY_FLASH = """
_open = open
def open(path, mode="r"):
 if not path.startswith("/flash/"):
  raise OSError(19)
 return _open(path, mode)
"""


@pytest.fixture
def vm() -> Iterator[ReferenceVm]:
    with ReferenceVm(heap_size=57344, chip="esp32") as reference:
        yield reference


def _files(vm: ReferenceVm) -> list[str]:
    """What lies at the root, but for the reference's own."""
    names = vm.run("import os\nprint(' '.join(os.listdir('/')))").stdout.decode().split()
    return [name for name in names if not name.startswith(".")]


def _after(vm: ReferenceVm, preamble: str) -> Abilities:
    """Asked of a VM to which ``preamble`` has happened before each question."""

    def run(source: str, *, timeout: float = 30.0, interrupt_at: bytes = b"") -> RunResult:
        return vm.run(preamble + source, timeout=timeout, interrupt_at=interrupt_at)

    return ask_abilities(run)


def test_a_vm_with_files_and_ctrl_c(vm: ReferenceVm) -> None:
    abilities = ask_abilities(vm.run)
    assert abilities.base == "/"
    assert abilities.own_folder == f"/{OWN_FOLDER}"
    assert abilities.ctrl_c
    assert abilities.frequency == 160_000_000
    assert {"machine", "time", "micropython"} <= set(abilities.modules)
    assert _files(vm) == []
    left = vm.run("print([n for n in globals() if n in ('_ask', '_try', '_has', '_writes', '_empty', '_t')])")
    assert left.stdout.strip() == b"[]"


def test_what_an_earlier_run_left_is_swept(vm: ReferenceVm) -> None:
    vm.run(f"import os\nos.mkdir('/{OWN_FOLDER}')\nos.mkdir('/{OWN_FOLDER}/asyncio')")
    vm.put(f"/{OWN_FOLDER}/asyncio/core.mpy", b"damaged")
    vm.put(f"/{OWN_FOLDER}/hx_src.py", b"x")
    vm.put("/main.py", b"print('mine')")
    ask_abilities(vm.run)
    assert _files(vm) == ["main.py"]


def test_a_vm_without_a_filesystem_says_why(vm: ReferenceVm) -> None:
    abilities = _after(vm, NO_FILES)
    assert abilities.own_folder == ""
    assert "OSError" in abilities.no_files
    assert "19" in abilities.no_files
    assert "none: OSError" in "\n".join(abilities.lines())


def test_files_that_are_not_at_the_root_are_found(vm: ReferenceVm) -> None:
    vm.run("import os\nos.mkdir('/flash')")
    assert _after(vm, ONLY_FLASH).own_folder == f"/flash/{OWN_FOLDER}"


def test_a_vm_that_is_deaf_while_busy_is_not_lost(vm: ReferenceVm) -> None:
    def run(source: str, *, timeout: float = 30.0, interrupt_at: bytes = b"") -> RunResult:
        return vm.run(source, timeout=timeout)  # nothing arrives: the loop has to end by itself

    assert not ask_abilities(run).ctrl_c


def _said(text: bytes, check: int | None = None) -> Abilities:
    crc = zlib.crc32(text) if check is None else check
    frame = b"\x02" + text + b"|%08x\x03\r\n" % crc

    def run(source: str, *, timeout: float = 30.0, interrupt_at: bytes = b"") -> RunResult:
        return RunResult(frame, b"KeyboardInterrupt: " if interrupt_at else b"", 0.1)

    return ask_abilities(run)


def test_a_good_answer_of_a_stranger() -> None:
    abilities = _said(b"/flash||1|/flash\x1f/rom|\x1f.frozen\x1f/flash|168000000|machine time|-1|131072")
    assert abilities == Abilities(
        base="/flash",
        makes_folders=True,
        mounts=("/flash", "/rom"),
        path=("", ".frozen", "/flash"),
        frequency=168_000_000,
        modules=("machine", "time"),
        timer=-1,
        rom_size=131072,
    )


@pytest.mark.parametrize(
    "text",
    [
        b"/||1|||0",
        b"/||1|||fast|machine|",
        b"/||1|||0|machine|x",
        b'/a/../../etc"||1|||0|',
        b"/" + b"x" * 400 + b"||1|||0||",
        b"",
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(text: bytes) -> None:
    with pytest.raises(BenchFault):
        _said(text)


def test_a_damaged_answer_is_refused() -> None:
    with pytest.raises(BenchFault, match="damaged"):
        _said(b"/||1|||0|machine|", check=1)


@given(st.binary(max_size=300))
def test_any_answer_ends_as_abilities_or_as_a_fault_of_the_bench(text: bytes) -> None:
    try:
        abilities = _said(text)
    except BenchFault:
        return
    assert len(abilities.own_folder) < 300
    assert "'" not in abilities.own_folder


def test_a_file_that_was_set_aside_when_everything_ended_is_back_after_the_next_sweep(vm: ReferenceVm) -> None:
    vm.put("/main.py", b"print('mine')")
    for name in ("main.py", "code.py"):
        with suppress(RuntimeError), set_aside(vm, name, base="/", own_folder=f"/{OWN_FOLDER}") as path:
            vm.put(path, b"while True: pass")
            raise RuntimeError
    assert _files(vm) == [OWN_FOLDER, "main.py"]
    # Now without the end: all that a killed run leaves.
    for path in ("/main.py", "/code.py"):
        assert vm.run(SET_ASIDE % (path, f"/{OWN_FOLDER}")).stderr == b""
        vm.put(path, b"while True: pass")
        assert vm.run(SET_ASIDE % (path, f"/{OWN_FOLDER}")).stderr == b""  # never over what is kept
    ask_abilities(vm.run)
    assert _files(vm) == ["main.py"]
    assert vm.get("/main.py") == b"print('mine')"


def test_a_start_file_that_is_aside_on_a_vm_without_folders_stays(vm: ReferenceVm) -> None:
    """There it has no folder of its own, and is called as the harness's own files are."""
    no_folders = ('hasattr(os, "mkdir")', "False")

    def run(source: str, *, timeout: float = 30.0, interrupt_at: bytes = b"") -> RunResult:
        assert no_folders[0] in source or "def _writes" not in source
        return vm.run(source.replace(*no_folders), timeout=timeout, interrupt_at=interrupt_at)

    for name in ("hx_aside_main.py", "hx_src.py"):
        vm.put(f"/{name}", b"x")
    assert not ask_abilities(run).makes_folders
    assert _files(vm) == ["hx_aside_main.py"]
    vm.put("/hx_src.py", b"x")
    assert vm.run((SWEEP % ("", f"/{OWN_FOLDER}")).replace(*no_folders)).stderr == b""
    assert _files(vm) == ["hx_aside_main.py"]


def test_what_is_asked_without_writing_makes_no_file(vm: ReferenceVm) -> None:
    vm.run(f"import os\nos.mkdir('/{OWN_FOLDER}')")
    vm.put(f"/{OWN_FOLDER}/hx_src.py", b"x")
    written = vm.run("import os\nprint(os.stat('/'))").stdout
    asked = ask_abilities(vm.run, writes=False)
    assert (asked.base, asked.no_files) == ("", "not tried")
    assert "machine" in asked.modules and asked.ctrl_c
    assert _files(vm) == [OWN_FOLDER]
    assert vm.get(f"/{OWN_FOLDER}/hx_src.py") == b"x"
    assert vm.run("import os\nprint(os.stat('/'))").stdout == written


def test_the_sweep_leaves_the_users_files_alone(vm: ReferenceVm) -> None:
    vm.put("/uevent.py", b"mine")
    vm.run(f"import os\nfor n in ('asyncio', '{OWN_FOLDER}', '{OWN_FOLDER}/asyncio'): os.mkdir('/' + n)")
    vm.put(f"/{OWN_FOLDER}/asyncio/core.mpy", b"damaged")
    assert vm.run(SWEEP % ("", f"/{OWN_FOLDER}")).stderr == b""
    assert _files(vm) == ["asyncio", "uevent.py"]
    assert vm.run(SWEEP % ("", f"/{OWN_FOLDER}")).stderr == b""  # nothing there is nothing to do
