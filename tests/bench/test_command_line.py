"""The commands, as a user types them, on virtual boards in a folder of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.running_boards import tool

BENCH = """
name: test bench
boards:
  - id: tv32
    chip: esp32
    runtime: micropython
    virtual: {}
    firmware: {build: virtual}
    wiring: {loopback: [[18, 19]]}
    capabilities: [romfs, pin_loopback, rtc_memory]
  - id: tv8266
    chip: esp8266
    runtime: micropython
    virtual: {}
    firmware: {build: virtual}
    wiring: {loopback: [[4, 5]], gpio16_rst: true}
    capabilities: [romfs, pin_loopback, rtc_memory]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "boards.yaml").write_text(BENCH)
    return tmp_path


def harness(folder: Path, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout)


def report(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "out.json").read_text())
    return read


def _skipped(run: dict[str, Any]) -> set[str]:
    figures = [m for b in run["boards"] for s in b["scenarios"] for m in s["measurements"]]
    return {m["name"] for m in figures if m["verdict"] == "skipped"}


def test_a_bench_is_flashed_judged_and_the_second_time_not_rewritten(folder: Path) -> None:
    first = harness(folder, "run", "--json", "out.json", "--junit", "out.xml")
    assert first.returncode == 0, first.stdout + first.stderr
    run = report(folder)
    off = {
        m["name"] for b in run["boards"] for s in b["scenarios"] for m in s["measurements"] if m["verdict"] != "pass"
    }
    assert run["exit_code"] == 0
    assert run["outcome"] == "pass" or off <= _skipped(run), off
    assert [b["id"] for b in run["boards"]] == ["tv32", "tv8266"]
    for board in run["boards"]:
        assert board["facts"]["flashed_bytes"] > 500_000
        assert len(board["firmware"]["sha256"]) == 64
        suites = {s["suite"] for s in board["scenarios"]}
        assert suites == {"calibration", "reload", "deep_sleep", "interrupt", "flash_execution"}
        figures = [m for s in board["scenarios"] for m in s["measurements"]]
        assert {m["kind"] for m in figures} == {"heap", "heap_kept", "time", "state", "count", "rate", "ratio"}
        heap = [m for m in figures if m["kind"] in ("heap", "heap_kept") and m["reference"] is not None]
        assert {m["kind"] for m in heap} == {"heap", "heap_kept"}
        # An open file costs on a virtual board what it costs on its port's filesystem, and nothing on the reference.
        assert all((m["measured"] == m["reference"]) != (m["name"] == "open.allocated") for m in heap)
        assert "open.allocated" in {m["name"] for m in heap}
        by_name = {s["name"]: {m["name"]: m["measured"] for m in s["measurements"]} for s in board["scenarios"]}
        in_place, source = by_name["in_place_from_romfs"], by_name["from_source"]
        assert in_place["import.kept"] < by_name["from_mpy"]["import.kept"]
        assert in_place["import.allocated"] < by_name["from_mpy"]["import.allocated"] < source["import.allocated"]
        assert in_place["result"] == source["result"]
    assert (folder / "out.xml").read_text().count("<testcase") == sum(len(b["scenarios"]) for b in run["boards"])

    second = harness(folder, "run", "reload", "-k", "leak", "--json", "out.json")
    assert second.returncode == 0
    for board in report(folder)["boards"]:
        assert board["facts"]["flashed_bytes"] == 0
        assert board["facts"]["unchanged_bytes"] > 500_000


def test_a_leaking_firmware_fails_with_the_figure(folder: Path) -> None:
    done = harness(
        folder, "run", "reload", "-k", "leak", "--boards", "tv32", "--variant", "leak64", "--json", "out.json"
    )
    assert done.returncode == 1
    board = report(folder)["boards"][0]
    leak = next(m for s in board["scenarios"] for m in s["measurements"] if m["name"] == "reload.leak")
    assert (leak["reference"], leak["verdict"]) == (0, "fail")
    # The heap moves with the leak, and what the collector takes for pointers with it: less than half a block.
    assert abs(leak["measured"] - 64) < 8
    assert re.search(r"reload\.leak is 6\d(\.\d+)? B", done.stdout)


@pytest.mark.parametrize(
    ("board", "at", "text"),
    [("tv32", 0x10000 + 100_000, "esp_image: Checksum failed"), ("tv8266", 0x9000 + 100_000, "Fatal exception 0")],
)
def test_one_flipped_byte_is_a_bench_fault_with_the_boot_text(folder: Path, board: str, at: int, text: str) -> None:
    assert harness(folder, "flash", "--boards", board).returncode == 0
    flash = folder / ".harness" / "virtual" / f"{board}.flash"
    content = bytearray(flash.read_bytes())
    content[at] ^= 1
    flash.write_bytes(content)
    started = time.monotonic()
    done = harness(folder, "run", "reload", "-k", "leak", "--boards", board, "--no-flash", "--json", "out.json")
    assert time.monotonic() - started < 60
    assert done.returncode == 3
    found = report(folder)["boards"][0]
    assert found["outcome"] == "error"
    assert all(text in s["reason"] for s in found["scenarios"])
    healed = harness(folder, "flash", "--boards", board, "--json", "out.json")
    assert healed.returncode == 0
    assert report(folder)["boards"][0]["written"] == 65536  # only the block with the damage


@pytest.mark.parametrize(
    ("change", "arguments", "code", "message"),
    [
        ("", ["run", "--boards", "nope"], 2, "there is no board 'nope'"),
        ("", ["run", "nosuite"], 2, "there is no suite 'nosuite'"),
        ("", ["run", "boards.yaml"], 2, "'boards.yaml' is no suite"),
        ("", ["replay", "/bin/sh"], 2, "/bin/sh cannot be replayed: it is no text"),
        ("", ["replay", "/tmp"], 2, "/tmp cannot be replayed: Is a directory"),
        ("", ["run", "--variant", "nope"], 2, "there is no firmware variant 'nope'"),
        ("", ["run", "--bench", "missing.yaml"], 2, "there is no bench file 'missing.yaml'"),
        ("", ["reference", "run", "missing.py"], 2, "cannot be read"),
        ("", ["reference", "run", "calibration", "--module", "nope"], 2, "expected a file that ends in .py or .mpy"),
        ("chip: esp32", ["run"], 2, "boards.yaml:"),
        ("{build: virtual}", ["run"], 2, "boards.yaml:"),
    ],
)
def test_mistakes_get_one_message_and_exit_2(
    folder: Path, change: str, arguments: list[str], code: int, message: str
) -> None:
    if change:
        text = BENCH.replace(change, "chip: esp33" if "chip" in change else "{path: missing.bin}", 1)
        (folder / "boards.yaml").write_text(text)
    done = harness(folder, *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / ".harness" / "virtual").exists()


@pytest.mark.parametrize("fault", ["other chip", "truncated"])
def test_a_wrong_image_is_refused_before_anything_is_touched(
    folder: Path, firmware_files: dict[str, Path], fault: str
) -> None:
    image = firmware_files["esp8266" if fault == "other chip" else "esp32"].read_bytes()
    (folder / "image.bin").write_bytes(image if fault == "other chip" else image[:-50_000])
    (folder / "boards.yaml").write_text(BENCH.replace("{build: virtual}", "{path: image.bin}", 1))
    done = harness(folder, "run")
    assert done.returncode == 2
    assert "image.bin" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / ".harness" / "virtual").exists()


def test_killed_in_the_middle_what_had_finished_is_kept_and_the_next_run_is_clean(folder: Path) -> None:
    from harness.results.store import Store

    command = [sys.executable, "-u", "-m", "harness", "run", "--boards", "tv32"]
    child = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert child.stdout is not None
    for line in child.stdout:
        if "pass" in line:
            break
    os.killpg(child.pid, signal.SIGKILL)
    child.wait(10)
    child.stdout.close()
    store = Store(folder / ".harness" / "results.sqlite")
    record = store.load_run(store.runs()[0])
    store.close()
    assert record.finished == 0
    assert record.exit_code == 3
    assert record.boards[0].scenarios
    assert record.boards[0].scenarios[0].measurements
    assert harness(folder, "run", "reload", "-k", "leak or files", "--boards", "tv32").returncode == 0


def test_a_board_that_is_in_use_is_left_alone(folder: Path) -> None:
    up = subprocess.Popen(
        [sys.executable, "-m", "harness", "virtual", "up", "--boards", "tv32", "--json", "up.json"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not (folder / "up.json").exists() and time.monotonic() < deadline:
            assert up.poll() is None
            time.sleep(0.05)
        url = json.loads((folder / "up.json").read_text())["tv32"]["url"]
        assert tool("mpremote", "connect", url, "exec", "print(6 * 7)").stdout.strip() == "42"
        from harness.link.ports import open_port

        held = open_port(url)
        arguments = ["reload", "-k", "leak or files", "--boards", "tv32", "--json", "out.json", "--wait", "2"]
        busy = harness(folder, "run", *arguments)
        held.close()
        assert busy.returncode == 3
        assert "another client" in report(folder)["boards"][0]["problem"]
        free = harness(folder, "run", "reload", "-k", "leak or files", "--boards", "tv32")
        assert free.returncode == 0, free.stdout
        assert up.poll() is None  # a board that was up stays up
    finally:
        up.send_signal(signal.SIGINT)
        assert up.wait(20) == 0


def test_a_program_on_the_reference(folder: Path) -> None:
    (folder / "p.py").write_text("print('hello', 2 ** 40)\n")
    done = harness(folder, "reference", "run", "p.py", "--json", "out.json")
    assert (done.returncode, done.stdout) == (0, "hello 1099511627776\n")
    assert report(folder)["cost"] > 0
    (folder / "p.py").write_text("raise ValueError('no')\n")
    failed = harness(folder, "reference", "run", "p.py")
    assert failed.returncode == 1
    assert "ValueError: no" in failed.stderr
    own = harness(folder, "reference", "run", "calibration")
    assert own.returncode == 0
    assert "dict_access" in own.stdout


@pytest.mark.parametrize("chip", [(), ("--chip", "stm32f405")])
def test_a_program_on_the_reference_with_modules_beside_it(folder: Path, chip: tuple[str, ...]) -> None:
    (folder / "p.py").write_text("import mine, uevent\nprint(mine.WHO, uevent.READ)\n")
    (folder / "mine.py").write_text("WHO = 'beside'\n")
    done = harness(folder, "reference", "run", "p.py", "--module", "mine.py", "--module", "uevent", *chip)
    assert (done.returncode, done.stdout) == (0, "beside 1\n"), done.stderr


def test_plain_pytest_runs_the_same_suites(folder: Path) -> None:
    from harness.paths import suites_dir

    command = [sys.executable, "-m", "pytest", str(suites_dir() / "reload"), "--boards", "tv32", "-q"]
    command += ["-k", "leak or globals or files"]
    done = subprocess.run(
        [*command, "--bench", str(folder / "boards.yaml")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
