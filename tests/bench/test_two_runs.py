"""Two runs started at once on a bench of every kind of board: each board serves one after the other."""

import subprocess
import sys
from pathlib import Path

from harness.paths import shipped_bench
from harness.results.store import Store

SUITE = """
import time
from pathlib import Path

import pytest

from harness.judging.figures import Figure
from harness.kinds import STATE
from harness.judging.limits import exactly

ANSWER = Figure("answer", STATE, limit=exactly("42"))
pytestmark = pytest.mark.runtime("micropython", "circuitpython", "nodemcu")


def test_alone(scenario):
    with (Path(__file__).parent / f"{scenario.bench.attached.board.id}.times").open("a") as log:
        log.write(f"{time.time()} ")
        log.flush()
        for _ in range(3):
            scenario.board.soft_reset()
        answer = scenario.board.run("print(6*7)").stdout.strip().decode()
        log.write(f"{time.time()}\\n")
    scenario.take(ANSWER, answer)
"""


def test_two_runs_at_once_use_each_of_six_boards_one_after_the_other(tmp_path: Path) -> None:
    bench = shipped_bench().read_text().replace("      pty: true\n", "      pace: fast\n")
    (tmp_path / "boards.yaml").write_text(bench)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "test_own.py").write_text(SUITE)
    command = [sys.executable, "-m", "harness", "run", "own", "--jobs", "6"]
    both = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    out = [one.communicate(timeout=200)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0], out
    boards = ("vesp32", "vesp8266", "vs3", "vstm32", "vfeather", "vnodemcu")
    for board in boards:
        lines = (tmp_path / "own" / f"{board}.times").read_text().splitlines()
        first, second = sorted(tuple(map(float, line.split())) for line in lines)
        assert first[0] < first[1] <= second[0] < second[1], (board, lines)
    store = Store(tmp_path / ".harness" / "results.sqlite")
    for number in (1, 2):
        passed = {b.id for b in store.load_run(number).boards for s in b.scenarios if s.outcome.value == "pass"}
        assert passed == set(boards)
    store.close()
