"""A run's results against what was planned: whatever a suite, a process or a disk does, nothing is lost silently."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = """
boards:
  - {id: one, chip: esp32, runtime: micropython, virtual: {pace: fast}, firmware: {build: virtual}}
  - {id: lua, chip: esp8266, runtime: nodemcu, virtual: {pace: fast}, firmware: {build: virtual}}
"""
FINE = """
def test_fine(scenario):
    assert scenario.board.run("print(6*7)")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "boards.yaml").write_text(BENCH)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "test_mine.py").write_text(FINE)
    return tmp_path


def harness(folder: Path, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, **more)


def outcomes(folder: Path, *arguments: str) -> tuple[int, dict[str, str], str]:
    done = harness(folder, "run", "mine", "--boards", "one", "--json", "out.json", *arguments)
    report = json.loads((folder / "out.json").read_text())
    assert report["exit_code"] == done.returncode
    scenarios = {s["name"]: s["outcome"] for board in report["boards"] for s in board["scenarios"]}
    return done.returncode, scenarios, report["boards"][0]["problem"] + done.stdout


# -- suites that cannot be run: told with file and line, before a board is touched --------------------


@pytest.mark.parametrize(
    ("suite", "told"),
    [
        (
            "def test_x(scenaro):\n    pass\n",
            "test_mine.py:1: test_x: there is no fixture 'scenaro'; did you mean 'scenario'?",
        ),
        ("\ndef test_x(scenario:\n    pass\n", "test_mine.py:2: SyntaxError"),
        ("import os\nimport no_such_module\n", "test_mine.py:2: ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = 1\ny = x / 0\n", "test_mine.py:2: ZeroDivisionError"),
        ("def test_x():\n    assert True\n", "test_mine.py:1: test_x takes no board"),
        (
            "import pytest\n@pytest.mark.needs('flaot')\ndef test_x(scenario):\n    pass\n",
            "test_mine.py:2: needs('flaot')",
        ),
        ("import pytest\n@pytest.mark.runtime('micropyhton')\ndef test_x(scenario):\n    pass\n", "'micropython'?"),
        ("import pytest\n@pytest.mark.ned('float')\ndef test_x(scenario):\n    pass\n", "'ned' not found in `markers`"),
    ],
)
def test_a_broken_suite_is_told_before_a_board_is_touched(folder: Path, suite: str, told: str) -> None:
    (folder / "mine" / "test_mine.py").write_text(suite)
    (folder / "mine" / "test_other.py").write_text(FINE)
    done = harness(folder, "run", "mine")
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / ".harness" / "virtual").exists()


def test_a_selection_of_nothing_is_told_before_a_board_is_touched(folder: Path) -> None:
    for arguments, told in ((("-k", "fien"), "mine: fine"), (("--boards", "lua"), "no scenario fits")):
        done = harness(folder, "run", "mine", *arguments)
        assert done.returncode == 2
        assert told in done.stderr
    assert not (folder / ".harness" / "virtual").exists()


def test_the_list_says_what_would_run_and_touches_nothing(folder: Path) -> None:
    (folder / "mine" / "test_mine.py").write_text(
        FINE + "import pytest\n@pytest.mark.needs('romfs')\ndef test_image(scenario):\n    pass\n"
    )
    done = harness(folder, "run", "mine", "--list", "--json", "out.json")
    assert done.returncode == 0
    assert "one (esp32, micropython): 1 to run\n  mine: fine" in done.stdout
    assert "skipped: mine: image: no romfs" in done.stdout
    assert "not asked: 2 for another runtime" in done.stdout
    listed = json.loads((folder / "out.json").read_text())["boards"]["one"]
    assert [(entry["name"], entry["would"]) for entry in listed] == [("fine", "run"), ("image", "skip")]
    assert not (folder / ".harness" / "virtual").exists()


# -- runs ----------------------------------------------------------------------------------------------


def test_what_a_scenario_does_decides_how_it_ends(folder: Path) -> None:
    (folder / "mine" / "test_mine.py").write_text(
        FINE
        + "def test_judges_nothing(scenario):\n    scenario.board.run('1')\n"
        + "def test_wrong(scenario):\n    assert 1 == 2\n"
        + "def test_of_no_use(scenario):\n    no_such_name\n"
        + "def helper(value):\n    assert value\n"
        + "def test_by_a_helper(scenario):\n    helper(6 * 7)\n"
    )
    code, scenarios, told = outcomes(folder)
    assert scenarios == {
        "fine": "pass",
        "judges_nothing": "broken",
        "wrong": "fail",
        "of_no_use": "broken",
        "by_a_helper": "pass",
    }
    assert code == 1
    assert "test_mine.py:9: NameError" in told
    code, scenarios, _ = outcomes(folder, "--last-failed", "-k", "not wrong")
    assert (code, scenarios) == (2, {"judges_nothing": "broken", "of_no_use": "broken"})


@pytest.mark.parametrize("code", [0, 1])
def test_a_process_that_ends_early_is_a_bench_fault_whatever_its_code(folder: Path, code: int) -> None:
    (folder / "mine" / "test_mine.py").write_text(
        f"import os\n{FINE}def test_kills(scenario):\n    os._exit({code})\n"
        "def test_never_asked(scenario):\n    assert 1\n"
    )
    ended, scenarios, told = outcomes(folder)
    assert ended == 3
    assert scenarios == {"fine": "pass"}
    assert "2 of 3 scenarios have no result, the first is mine: kills (mine/test_mine.py:5)" in told


def test_a_disk_that_fills_up_is_no_green_run(folder: Path) -> None:
    (folder / "mine" / "test_mine.py").write_text(
        "import pytest\n@pytest.mark.parametrize('n', range(40))\n"
        "def test_long(scenario, n):\n    scenario.board.run('print(\"x\" * 20000)')\n    assert True\n"
    )

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 4096, size + 4096))

    assert harness(folder, "run", "mine", "--boards", "one", "-k", "long[0]").returncode == 0  # flash file, cache
    size = (folder / ".harness" / "results.sqlite").stat().st_size
    done = harness(folder, "run", "mine", "--boards", "one", "--no-flash", preexec_fn=small_files)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_board_that_nothing_is_selected_for_is_not_asked_and_no_error(folder: Path) -> None:
    done = harness(folder, "run", "mine", "--json", "out.json")
    assert done.returncode == 0, done.stdout
    assert "not asked" in done.stdout
    assert [board["id"] for board in json.loads((folder / "out.json").read_text())["boards"]] == ["one"]


@pytest.mark.parametrize("words", ["and (", "(fine", "fine or (", ""])
def test_a_selection_that_is_none_is_refused_by_list_and_run(folder: Path, words: str) -> None:
    for more in ([], ["--list"]):
        done = harness(folder, "run", "mine", "-k", words, *more)
        assert (done.returncode, "-k" in done.stderr) == (2, True), done.stdout + done.stderr
    assert not (folder / ".harness" / "virtual").exists()


def test_two_scenarios_of_one_name_are_refused(folder: Path) -> None:
    (folder / "mine" / "test_other.py").write_text(FINE)
    done = harness(folder, "run", "mine")
    assert done.returncode == 2
    assert "mine/test_other.py:2: the suite 'mine' has a scenario 'fine' already: mine/test_mine.py:2" in done.stderr


def test_no_board_is_not_all_boards(folder: Path) -> None:
    done = harness(folder, "run", "mine", "--boards", "")
    assert done.returncode == 2
    assert "names no board" in done.stderr


def test_a_failure_that_is_expected_is_no_failure_of_the_firmware(folder: Path) -> None:
    (folder / "mine" / "test_mine.py").write_text(
        "import pytest\n@pytest.mark.xfail(reason='bug 7')\ndef test_known(scenario):\n    assert 1 == 2\n" + FINE
    )
    code, scenarios, told = outcomes(folder)
    assert (code, scenarios) == (0, {"known": "skipped", "fine": "pass"})
    assert "expected to fail: bug 7" in told


def test_a_misspelt_mark_is_refused_by_pytest_too(folder: Path) -> None:
    (folder / "mine" / "test_mine.py").write_text("import pytest\n@pytest.mark.neds('romfs')\n" + FINE.lstrip())
    command = [sys.executable, "-m", "pytest", "mine", "--boards", "one", "-q"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "needs" in done.stdout + done.stderr


def test_the_transcript_as_it_is_printed_can_be_replayed(folder: Path) -> None:
    (folder / "mine" / "test_mine.py").write_text(
        "def test_wrong(scenario):\n    assert scenario.board.run('1') is None\n"
    )
    done = harness(folder, "run", "mine", "--boards", "one")
    (path,) = [line.strip() for line in done.stdout.splitlines() if ".jsonl#" in line]
    again = harness(folder, "replay", "-q", path)
    assert again.returncode == 0, again.stdout + again.stderr


def test_the_list_does_not_call_skipped_what_a_generic_boards_vm_is_asked_for(folder: Path) -> None:
    (folder / "boards.yaml").write_text(
        "boards:\n  - id: any\n    chip: generic\n    runtime: micropython\n"
        "    identity: {port: /dev/none}\n    flash: {method: none}\n"
    )
    (folder / "mine" / "test_mine.py").write_text(
        "import pytest\n@pytest.mark.needs('romfs')\ndef test_image(scenario):\n    assert 1\n"
        "@pytest.mark.needs('deep_sleep')\ndef test_sleep(scenario):\n    assert 1\n"
    )
    done = harness(folder, "run", "mine", "--list")
    assert done.returncode == 0, done.stderr
    assert "1 to run\n  mine: image" in done.stdout
    assert "skipped: mine: sleep: no deep_sleep" in done.stdout
