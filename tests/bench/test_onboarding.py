"""What is said of an unknown board, and its entry: from what it answered, whatever that was."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.bench.bench_entries import update_bench
from harness.bench.onboarding import FIRST_PLAN, Onboarding
from harness.bench.plugged import Plugged
from harness.bench.probe_port import Answer
from harness.flashing.flasher import ChipIdentity, Security
from harness.inventory.load import load_bench
from harness.inventory.model import Board
from harness.runtimes.looked import Look

MAC = "24:6f:28:00:00:01"
OPEN = Security(False, False, False, False)
NO_LINES = "it is a pseudo-terminal"


def esp(chip: str = "esp32", security: Security | None = OPEN) -> ChipIdentity:
    return ChipIdentity(chip, "ESP32-D0WD-V3 (revision v3.0)", MAC, 4 << 20, security=security)


def answer(**more: Any) -> Answer:
    fields: dict[str, Any] = {
        "port": "/dev/ttyACM9",
        "runtime": "micropython",
        "version": "3.4.0; MicroPython v1.28.0",
        "machine": "ESP32 module with ESP32",
        "chip": "esp32",
        "mac": MAC,
        "esp": esp(),
        "look": Look(floats=True, paste_window=128, folder="/", files=(("boot.py", 9),)),
    }
    return Answer(**{**fields, **more})


def plugged(vid_pid: str, what: str = "an adapter") -> Plugged:
    return Plugged("port", "/dev/ttyACM9", vid_pid, "A1B2C3D4", "1-1.2", "", what)


def entry_of(board: Onboarding, folder: Path, answers: dict[str, str] | None = None) -> Board:
    """Its entry as a run reads it."""
    file = folder / "boards.yaml"
    file.unlink(missing_ok=True)
    port = board.answer.port
    plugs = [board.plug] if board.plug else []
    update_bench(file, plugs, {port: board.answer}, settings={port: board.settings(answers or {})})
    (entry,) = load_bench(file).boards
    return entry


def words(rows: list[tuple[str, str]], label: str) -> str:
    return next(text for name, text in rows if name == label)


def test_a_devkit_is_reset_by_its_lines_and_not_written(tmp_path: Path) -> None:
    board = Onboarding(answer(), plugged("10c4:ea60"))
    entry = entry_of(board, tmp_path)
    assert (entry.chip, entry.reset.method, entry.firmware, entry.application) == ("esp32", "dtr-rts", None, "keep")
    assert {"deep_sleep", "rtc_memory", "watchdog", "float"} <= set(entry.capabilities)
    assert "pin_loopback" not in entry.capabilities
    assert words(board.allowed({}), "reset").startswith("yes, by DTR and RTS")
    assert words(board.allowed({}), "flash").startswith("not yet: the entry names no firmware")


@pytest.mark.parametrize(
    ("security", "told"),
    [
        (Security(True, False, False, False), "secure boot is on"),
        (Security(False, True, True, False), "flash encryption is on"),
        (Security(secure_download=True), "secure download mode is on"),
        (Security(True, True, False, False), "secure boot and flash encryption are on"),
    ],
)
def test_a_secured_chip_is_never_written(tmp_path: Path, security: Security, told: str) -> None:
    board = Onboarding(answer(esp=esp(security=security)), plugged("10c4:ea60"))
    assert f"no: {told}" in words(board.allowed({}), "flash")
    assert entry_of(board, tmp_path).flash_method == "none"


@pytest.mark.parametrize(
    ("runtime", "name", "text", "in_the_way"),
    [
        ("micropython", "boot.py", b"# comment\nimport gc\n#import esp\ngc.collect()\n", False),
        ("micropython", "boot.py", b"import os, machine\r\n#os.dupterm(None, 1)\r\n", False),
        ("micropython", "main.py", b"# main.py -- put your code here!\r\n", False),
        ("micropython", "main.py", b"import app\napp.start()\n", True),
        ("micropython", "boot.py", b"import machine; machine.deepsleep()\n", True),
        ("micropython", "main.py", b"while True: pass\n", True),
        ("micropython", "main.py", b"print(open('key').read())\n", True),
        ("circuitpython", "code.py", b'print("Hello World!")\n', False),
        ("circuitpython", "code.py", b"import board\nled = board.LED\n", True),
        ("nodemcu", "init.lua", b"-- nothing\n", False),
        ("nodemcu", "init.lua", b"tmr.create():alarm(1, 1, f)\n", True),
    ],
)
def test_an_application_is_told_from_what_a_new_board_has(
    tmp_path: Path, runtime: str, name: str, text: bytes, in_the_way: bool
) -> None:
    look = Look(files=((name, len(text)),), start_files={name: text}, folder="/")
    chip = "esp8266" if runtime == "nodemcu" else "esp32"
    board = Onboarding(answer(runtime=runtime, chip=chip, look=look, esp=esp(chip)), plugged("10c4:ea60"))
    assert board.application == ([name] if in_the_way else [])
    assert entry_of(board, tmp_path).application == ("aside" if in_the_way else "keep")
    assert [question.key for question in board.questions()].count("aside") == in_the_way
    if in_the_way:
        assert entry_of(board, tmp_path, {"aside": "no"}).application == "keep"
    else:
        assert "no application is in the way" in words(board.found(), "starts")


def test_a_start_file_that_is_longer_than_what_was_read_is_an_application() -> None:
    look = Look(files=(("main.py", 9000),), start_files={"main.py": b"# only\n" * 500})
    assert Onboarding(answer(look=look)).application == ["main.py"]


def test_what_is_wired_is_asked_and_answered(tmp_path: Path) -> None:
    board = Onboarding(answer(chip="esp8266", esp=esp("esp8266", None)), plugged("1a86:7523"))
    assert [question.key for question in board.questions()] == ["gpio16_rst", "loopback"]
    silent = entry_of(board, tmp_path)
    assert "# GPIO16 wired to RST?" in (tmp_path / "boards.yaml").read_text()
    assert "deep_sleep" not in silent.capabilities
    told = entry_of(board, tmp_path, {"gpio16_rst": "yes", "loopback": "4 5"})
    assert told.wiring.gpio16_rst and told.wiring.loopback == ((4, 5),)
    assert {"deep_sleep", "pin_loopback"} <= set(told.capabilities)


def test_a_reset_line_that_nothing_proved_is_asked(tmp_path: Path) -> None:
    board = Onboarding(answer(chip="", mac="", esp=None, machine="Board with RP9"), plugged("0403:6001"))
    assert [question.key for question in board.questions()] == ["reset"]
    assert entry_of(board, tmp_path).reset.method == "none"
    assert entry_of(board, tmp_path, {"reset": "yes"}).reset.method == "dtr-rts"


def test_a_pulse_that_restarted_nothing_is_no_reset(tmp_path: Path) -> None:
    look = Look(resets=False, paste_window=128, floats=True)
    board = Onboarding(answer(chip="stm32f405", mac="", uid="0" * 24, esp=None, look=look), plugged("0403:6001"))
    entry = entry_of(board, tmp_path)
    assert (entry.reset.method, entry.flash_method, entry.console.rts) == ("none", "none", False)
    assert not {"deep_sleep", "watchdog"} & set(entry.capabilities)
    wired = Onboarding(answer(chip="stm32f405", mac="", uid="0" * 24, esp=None, look=Look(resets=True)))
    entry = entry_of(wired, tmp_path)
    assert (entry.reset.method, entry.flash_method, entry.console.rts) == ("dtr-rts", "stm32-uart", True)


@pytest.mark.parametrize(("vid_pid", "reset"), [("303a:1001", "usb-jtag"), ("10c4:ea60", "dtr-rts")])
def test_native_usb_goes_with_the_chip(tmp_path: Path, vid_pid: str, reset: str) -> None:
    entry = entry_of(Onboarding(answer(chip="esp32c3", esp=esp("esp32c3")), plugged(vid_pid)), tmp_path)
    assert entry.reset.method == reset
    assert ("native_usb" in entry.capabilities) == (vid_pid == "303a:1001")


@pytest.mark.parametrize(
    ("vid_pid", "own"), [("f055:9800", True), ("0483:5740", True), ("0483:374b", False), ("10c4:ea60", False)]
)
def test_an_stm32s_own_usb_is_told_from_its_debug_probes(tmp_path: Path, vid_pid: str, own: bool) -> None:
    """0483 is the vendor of both."""
    board = Onboarding(answer(chip="stm32f405", mac="", uid="0" * 24, esp=None), plugged(vid_pid))
    assert ("native_usb" in entry_of(board, tmp_path).capabilities) == own


def test_an_emulator_without_raw_paste_gets_a_buffer(tmp_path: Path) -> None:
    look = Look(paste_window=0, floats=True)
    board = Onboarding(answer(port="/dev/pts/9", chip="", mac="", esp=None, no_lines=NO_LINES, look=look))
    entry = entry_of(board, tmp_path)
    assert (entry.console.buffer, entry.reset.method, entry.flash_method) == (64, "none", "none")


def test_a_chip_without_a_vm_gets_an_entry_and_no_plan(tmp_path: Path) -> None:
    board = Onboarding(answer(runtime="", version="", look=None, heard="ets Jul 29 2019"), plugged("10c4:ea60"))
    assert words(board.found(), "runs").startswith("something else")
    assert entry_of(board, tmp_path).chip == "esp32"
    assert board.questions() == [] and not board.known_vm


def test_a_vm_of_a_fork_is_told_and_not_run() -> None:
    board = Onboarding(answer(runtime="pycopy"))
    assert not board.known_vm
    assert "for which there is no client" in words(board.found(), "runs")


def test_the_first_plan_needs_no_wire_and_no_flash() -> None:
    from harness.paths import suites_dir

    named = {text.partition(": ")[2] for plan in FIRST_PLAN.values() for text in plan}
    there = "\n".join(file.read_text() for file in suites_dir().rglob("test_*.py"))
    assert not [name for name in named if f"def test_{name.replace(' ', '_')}(" not in there]


TEXT = st.text(max_size=60)


@settings(max_examples=50)
@given(
    version=TEXT,
    machine=TEXT,
    heard=TEXT,
    uid=TEXT,
    names=st.lists(TEXT, max_size=4),
    problem=TEXT,
    chip=st.sampled_from(["", "esp32", "esp8266", "stm32f405", "stm32l476", "esp32s3"]),
    runtime=st.sampled_from(["", "micropython", "circuitpython", "nodemcu", "fork"]),
    resets=st.sampled_from([None, True, False]),
    no_lines=st.sampled_from(["", NO_LINES]),
)
def test_whatever_a_board_says_its_entry_is_only_what_it_is(
    version: str,
    machine: str,
    heard: str,
    uid: str,
    names: list[str],
    problem: str,
    chip: str,
    runtime: str,
    resets: bool | None,
    no_lines: str,
) -> None:
    """Ends of lines, quotes and keys in what it says stay words: in comments, or in quoted texts."""
    look = Look(
        version=version,
        files=tuple((name, 9) for name in names),
        start_files={"main.py": b"run()", **dict.fromkeys(names[:1], b"x")},
        resets=resets,
    )
    identity = esp(chip) if chip.startswith("esp") and not no_lines else None
    told = answer(
        runtime=runtime, version=version, machine=machine, heard=heard, uid=uid, look=look, esp=identity, chip=chip,
        mac=MAC if identity else "", problems=(problem,), no_lines=no_lines,
    )  # fmt: skip
    board = Onboarding(told)
    if runtime == "fork" or not (runtime or chip):
        return  # no entry is made of these
    assert board.found() and board.allowed({})
    with tempfile.TemporaryDirectory() as folder:
        entry = entry_of(board, Path(folder))
        content = yaml.safe_load((Path(folder) / "boards.yaml").read_text())
    keys = {"id", "chip", "runtime", "identity", "console", "reset", "flash", "application", "capabilities"}
    assert set(content) == {"name", "boards"} and len(content["boards"]) == 1
    assert set(content["boards"][0]) <= keys
    assert entry.chip == (chip or "generic")
