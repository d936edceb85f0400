"""A package adds a chip, a power switch, a kind and a report, and nothing in the harness is touched for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.virtual.bench import RunningBoard, VirtualSpec, start
from harness.virtual.virtual_firmware import build_firmware

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
ENTRY_POINTS = """\
[harness.chips]
example = bench_example:NRF52840
[harness.power]
notebook = bench_example:NOTEBOOK
[harness.kinds]
energy = bench_example:ENERGY
[harness.reports]
csv = bench_example:CSV
"""
BENCH = """\
name: example
boards:
  - id: dongle
    chip: nrf52840
    runtime: micropython
    identity: {{url: "{port}"}}
    flash: {{method: none}}
    reset: {{method: none}}
    power: {{method: notebook, options: {{file: {notes}}}, off_seconds: 0.1}}
"""
SUITE = """\
from harness.judging.figures import Figure
from harness.judging.limits import at_most
from harness.judging.scenario import Scenario
from harness.kinds import named

ENERGY = Figure("energy.of_a_sum", named("energy"), "uJ", at_most(50, "uJ"))

def test_a_sum_takes_little(scenario: Scenario) -> None:
    for runtime in scenario.both:
        assert runtime.run("print(sum(range(10)))").stdout.strip() == b"45"
    scenario.take(ENERGY, 41.5)
"""

Harness = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def board(tmp_path: Path) -> Iterator[RunningBoard]:
    spec = VirtualSpec("dongle", "esp32", str(tmp_path / "state"), pace="fast")
    spec.folder.mkdir(parents=True)
    content = bytearray(b"\xff" * spec.flash_size)
    image = build_firmware("esp32")
    content[0x1000 : 0x1000 + len(image)] = image
    spec.flash_file.write_bytes(content)
    with start(spec) as running:
        yield running


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    """The command line in an environment in which the package is installed, as far as Python can tell."""
    site = tmp_path / "site"
    about = site / "bench_example-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-example\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    path = os.pathsep.join([str(site), str(HERE / "example_package"), str(ROOT)])

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "harness", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, "COLUMNS": "120"},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def test_all_of_it_works_in_one_run(harness: Harness, board: RunningBoard, tmp_path: Path) -> None:
    (tmp_path / "boards.yaml").write_text(BENCH.format(port=board.url, notes=tmp_path / "notes"))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "test_energy.py").write_text(SUITE)
    done = harness("run", "own", "--figures", "--report", "csv=run.csv")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "energy.of_a_sum" in done.stdout
    assert "41.5 uJ" in done.stdout
    assert (tmp_path / "run.csv").read_text().split() == ["dongle,own,energy.of_a_sum,energy,41.5,uJ"]
    assert "1 histor" in harness("history", "dongle", "energy.*").stdout
    switched = harness("power", "dongle", "cycle")
    assert switched.returncode == 0, switched.stderr
    assert "notebook notes" in switched.stdout
    assert (tmp_path / "notes").read_text().split() == ["off", "on"]


def test_without_the_package_each_name_is_unknown_and_told(tmp_path: Path, board: RunningBoard) -> None:
    (tmp_path / "boards.yaml").write_text(BENCH.format(port=board.url, notes=tmp_path / "notes"))
    done = subprocess.run(
        [sys.executable, "-m", "harness", "boards"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "boards[0].chip: expected one of" in done.stderr
    assert "boards[0].power.method: expected one of" in done.stderr


@pytest.mark.parametrize(
    ("option", "sentence"),
    [("csv", "expected NAME=FILE"), ("xlsx=a.xlsx", "there is no format 'xlsx'")],
)
def test_a_report_that_cannot_be_is_told_before_a_board_is_touched(
    harness: Harness, tmp_path: Path, option: str, sentence: str
) -> None:
    (tmp_path / "boards.yaml").write_text(BENCH.format(port="rfc2217://127.0.0.1:9", notes=tmp_path / "notes"))
    done = harness("run", "--report", option)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert not (tmp_path / ".harness").exists()
