"""The suites against a board that is not ours: the BBC micro:bit's firmware of 2017 in QEMU, its UART on a pty.

Needs Debian's ``qemu-system-arm`` and ``firmware-microbit-micropython``; docs/emulated-board.md.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running_boards import tool

FIRMWARE = Path("/usr/share/firmware-microbit-micropython/firmware.hex")
QEMU = shutil.which("qemu-system-arm")
#: An instruction takes 64 ns, about the 16 MHz of the nRF51, however fast the host is.
MACHINE = ("-M", "microbit", "-icount", "shift=6", "-display", "none", "-monitor", "none", "-serial", "pty")

pytestmark = [
    # Beside three workers its emulator is late in many ways; tox's other environment gives it the machine.
    pytest.mark.skipif(not os.environ.get("HARNESS_EMULATED"), reason="wants a quiet host: tox -e emulated runs it"),
    pytest.mark.skipif(QEMU is None, reason="qemu-system-arm is not installed"),
    pytest.mark.skipif(not FIRMWARE.exists(), reason="firmware-microbit-micropython is not installed"),
]

BENCH = """
boards:
  - id: microbit
    chip: generic
    runtime: micropython
    identity: {{port: {port}}}
    flash: {{method: none}}
    reset: {{method: none}}
    console: {{buffer: 64}}
"""


@pytest.fixture(scope="module")
def port() -> Iterator[str]:
    """A micro:bit that runs: the path of its console."""
    assert QEMU is not None
    command = [QEMU, *MACHINE, "-device", f"loader,file={FIRMWARE}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"/dev/pts/\d+", said)
        assert found, f"QEMU did not name its pty: {said!r}"
        yield found[0]
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def board(port: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one run of all suites says of the board."""
    folder = tmp_path_factory.mktemp("emulated")
    bench, result = folder / "boards.yaml", folder / "result.json"
    bench.write_text(BENCH.format(port=port))
    command = [sys.executable, "-m", "harness", "run", "--bench", str(bench), "--json", str(result)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert result.exists(), done.stdout + done.stderr
    found: dict[str, Any] = json.loads(result.read_text())["boards"][0]
    return found


def named(board: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(s for s in board["scenarios"] if s["name"] == name)
    return found


def figures(board: dict[str, Any], name: str) -> dict[str, Any]:
    return {m["name"]: m for m in named(board, name)["measurements"]}


def test_an_independent_client_sees_the_same_board(port: str, board: dict[str, Any]) -> None:
    """mpremote, after a whole run: the port was given back and the VM is at its prompt."""
    said = tool("mpremote", "connect", port, "resume", "exec", "import sys; print(sys.implementation)").stdout
    assert "(1, 9, 2)" in said
    assert board["facts"]["version"].endswith("MicroPython v1.9.2")


def test_nothing_that_it_lacks_is_held_against_it(board: dict[str, Any]) -> None:
    assert board["problem"] == ""
    bad = [(s["name"], s["reason"]) for s in board["scenarios"] if s["outcome"] in ("fail", "error")]
    assert not bad


def test_each_skip_says_why(board: dict[str, Any]) -> None:
    reasons = {s["name"]: s["reason"] for s in board["scenarios"] if s["outcome"] == "skipped"}
    assert "no micropython.schedule" in reasons["the_queue_holds_what_the_port_says"]
    assert "no sys.modules, sys.path" in reasons["globals_modules_and_paths_are_gone"]
    assert ".mpy version none" in reasons["from_mpy"]
    assert all(reasons.values())


@pytest.mark.parametrize("name", ["files_are_kept", "reloads_neither_leak_nor_fragment", "ctrl_c[busy]"])
def test_what_it_can_do_is_judged(board: dict[str, Any], name: str) -> None:
    assert named(board, name)["outcome"] == "pass"


def test_the_heap_rule_follows_its_version_and_representation(board: dict[str, Any]) -> None:
    """Not the exact rule of equal builds; and yet objects whose layout is old are the same to the byte."""
    heap = figures(board, "allocations")
    assert "MicroPython 1.9 against 1." in heap["alloc.list"]["rule"]
    assert "representation C against A" in heap["alloc.list"]["rule"]
    for name in ("list", "tuple", "dict", "bytearray", "string"):
        assert heap[f"alloc.{name}"]["measured"] == heap[f"alloc.{name}"]["reference"]


def test_its_speed_is_that_of_the_reference_up_to_a_scale(board: dict[str, Any]) -> None:
    """The time of most micro-benchmarks is predicted from the metered cost, on a chip that nobody told it of."""
    times = [m for name, m in figures(board, "micro_benchmarks").items() if name.startswith("bench.")]
    assert len(times) == 15
    ratios = [m["measured"] / m["reference"] for m in times]
    assert sum(0.75 < ratio < 1.33 for ratio in ratios) >= 12, ratios
