"""A mistake of a suite is told as one: *broken*, with the suite's file and line, and nobody else is blamed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.bench.health import Health, HealthBook
from harness.campaigns.assert_words import assert_words

BENCH = """
boards:
  - {id: one, chip: esp32, runtime: micropython, virtual: {pace: fast}, firmware: {build: virtual}}
"""
ABOUT = """from harness.suite import Program, Scenario, figure
import pytest
COUNT = figure("n", "count", "at most 9")
"""
CONFTEST = """import pytest


@pytest.fixture
def no_good():
    raise ValueError("no good fixture")


@pytest.fixture
def no_good_end():
    yield
    raise KeyError("at its end")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "boards.yaml").write_text(BENCH)
    (tmp_path / "mine").mkdir()
    return tmp_path


def harness(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def run(folder: Path, *scenarios: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Exit code, and outcome and reason of each scenario; ``@`` in a reason stands for the suite's file."""
    (folder / "mine" / "test_mine.py").write_text(ABOUT + "".join(scenarios))
    done = harness(folder, "run", "mine", "--json", "out.json")
    board: dict[str, Any] = json.loads((folder / "out.json").read_text())["boards"][0]
    found = {s["name"]: (s["outcome"], s["reason"].replace("mine/test_mine.py", "@")) for s in board["scenarios"]}
    return done.returncode, found


def scenario(name: str, *lines: str) -> str:
    body = "".join(f"    {line}\n" for line in lines)
    return f"def test_{name}(scenario):\n{body}"


def program(*lines: str, name: str = "inline") -> str:
    source = "\n".join(lines)
    return f"pair = scenario.run(Program({name!r}, {source!r}))"


COUNTS = program("agent.count('impl', 1)", "agent.done()")


def test_mistakes_are_the_suites_and_the_boards_health_is_untouched(folder: Path) -> None:
    (folder / "mine" / "wrong.py").write_text("x = 1\ny = x / 0\nagent.done()\n")
    load = "scenario.run(Program.load({}))"
    code, found = run(
        folder,
        scenario("none", "scenario.take(COUNT, None, 8)"),  # 5
        scenario("not_a_number", program("agent.state('impl', 'x')", "agent.done()"), "pair.value('impl')"),  # 6 to 8
        scenario("not_a_text", COUNTS, "pair.text('impl')"),  # 9 to 11
        scenario("another_name", COUNTS, "pair.value('imlp')"),  # 12 to 14
        scenario("no_end", program("agent.count('impl', 1)")),
        scenario("twice", program("agent.count('n', 1)", "agent.count('n', 1)", "agent.done()")),
        scenario("divides", load.format("'wrong'")),
        scenario("syntax", program("x = 1", "y = = 2", "agent.done()")),
        scenario("eof", program("print('a\\x04b')", "agent.done()")),
        scenario("inputs", "scenario.run(Program('i', 'agent.done()', {'x': object()}))"),
        scenario("by_a_name", "name = 'wrogn'", load.format("name")),
    )
    assert {name: outcome for name, (outcome, _) in found.items()} == dict.fromkeys(found, "broken")
    assert (code, len(found)) == (2, 11)
    told = {name: reason for name, (_, reason) in found.items()}
    assert told["none"].startswith("@:5: figure 'n' is None (NoneType); count is a number")
    assert told["not_a_number"].startswith("@:8: 'impl' is a state, expected a number; take it with text('impl')")
    assert told["not_a_text"].startswith("@:11: 'impl' is a count, expected a text; take it with value('impl')")
    assert told["another_name"].startswith("@:14: the program did not report 'imlp'; did you mean 'impl'?")
    assert "ends without its end record" in told["no_end"]
    assert "agent.done()?" in told["no_end"]
    assert "the program reported 'n' twice" in told["twice"]
    assert "mine/wrong.py:2: ZeroDivisionError" in told["divides"]
    assert "program 'inline', line 2: SyntaxError" in told["syntax"]
    assert "prints '\\x04'" in told["eof"]
    assert "plain JSON values" in told["inputs"]
    assert "there is no program 'wrogn.py'; wrong?" in told["by_a_name"]
    assert all(reason.startswith("@:") for reason in told.values())
    assert not any("quarantine" in reason or "cable" in reason for reason in told.values())
    assert HealthBook(folder / ".harness").of("one") == Health()


def test_what_fails_on_the_board_alone_stays_the_firmwares(folder: Path) -> None:
    asked = "Program('p', \"if 'mark' in globals():\\n    1 / 0\\nagent.done()\\n\")"
    code, found = run(
        folder, scenario("board_only", "scenario.board.run('mark = 1')", f"scenario.run({asked}, fresh=False)")
    )
    outcome, reason = found["board_only"]
    assert (code, outcome) == (1, "fail")
    assert "ZeroDivisionError" in reason
    assert "\r" not in reason


def test_a_failed_assert_is_told_with_its_place_and_in_few_words(folder: Path) -> None:
    code, found = run(
        folder,
        scenario("wrong", COUNTS, "assert pair.board.value('impl') == 2"),
        "def helper(value):\n    assert value\n",
        scenario("by_a_helper", "helper(0)"),
    )
    assert code == 1
    assert found["wrong"] == ("fail", "@:6: assert 1 == 2\n +  where 1 = value('impl')")
    assert found["by_a_helper"] == ("fail", "@:8: assert 0")


def test_what_pytest_itself_calls_a_failure_is_the_firmwares(folder: Path) -> None:
    """The author says that an expectation was not met, as by an assert; under ``harness run`` and under ``pytest``."""
    code, found = run(
        folder,
        scenario("said", COUNTS, "pytest.fail(f'{pair.board.value(\"impl\"):g} is odd')"),
        scenario("in_vain", "with pytest.raises(ValueError):", "    scenario.board.run('x = 1')"),
        scenario("raised", "with pytest.raises(ValueError):", "    raise ValueError"),
        scenario("only_once", "from pathlib import Path", "been, here = Path('been'), Path('been').exists()",
                 "been.touch()", "if not here: pytest.fail('the first time')", "assert here"),
        "async def test_not_run_at_all(scenario):\n    assert 1\n",
    )  # fmt: skip
    assert found["said"] == ("fail", "@:6: 1 is odd")
    assert found["in_vain"][0] == "fail" and found["in_vain"][1].startswith("@:8: DID NOT RAISE")
    assert found["raised"] == ("pass", "")
    outcome, reason = found["only_once"]
    assert outcome == "error" and "failed once, and passed when it was run again. First: the first time" in reason
    assert found["not_run_at_all"][0] == "broken"
    assert code == 1
    (folder / "been").unlink()
    command = [sys.executable, "-m", "pytest", "mine", "--boards", "one", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "4 failed, 1 passed" in done.stdout, done.stdout


def test_a_fixture_that_raises_is_told_where_it_does(folder: Path) -> None:
    (folder / "mine" / "conftest.py").write_text(CONFTEST)
    code, found = run(
        folder,
        "def test_before(no_good, scenario):\n    assert 1\n",
        "def test_behind(scenario, no_good):\n    assert 1\n",
        "def test_end(scenario, no_good_end):\n    assert 1\n",
        "def test_wrong_and_end(scenario, no_good_end):\n    assert 1 == 2\n",
    )
    told = "mine/conftest.py:6: ValueError: no good fixture"
    assert found["before"] == found["behind"] == ("broken", told)
    assert found["end"] == ("broken", "mine/conftest.py:12: KeyError: 'at its end'")
    assert found["wrong_and_end"] == ("fail", "@:11: assert 1 == 2")
    assert code == 1


@pytest.mark.parametrize(
    ("suite", "told"),
    [
        ("@pytest.mark.neds('float')\ndef test_x(scenario):\n    pass\n", "did you mean 'needs'?"),
        (
            "def test_x(scenario):\n    scenario.run(Program.load('allocatoins'))\n",
            "mine/test_mine.py:5: there is no program 'allocatoins.py'; allocations?",
        ),
        (
            "def test_x(scenario):\n    scenario.run(Program.load_lua('lfs_lok'))\n",
            "mine/test_mine.py:5: there is no program 'lfs_lok.lua' in fixtures/lua; lfs_look",
        ),
        ("@pytest.mark.figures('n')\ndef test_x(scenario):\n    pass\n", "test_mine.py:4: test_x[one] declares 'n'"),
    ],
)
def test_what_can_be_read_off_a_suite_is_told_before_a_board_is_touched(folder: Path, suite: str, told: str) -> None:
    (folder / "mine" / "test_mine.py").write_text(ABOUT + suite)
    done = harness(folder, "run", "mine")
    assert done.returncode == 2
    assert told in done.stderr
    assert not (folder / ".harness" / "virtual").exists()


def test_a_name_that_is_only_tried_or_no_literal_is_no_mistake(folder: Path) -> None:
    (folder / "mine" / "test_mine.py").write_text(
        ABOUT
        + "def test_x(scenario):\n"
        + "    with pytest.raises(Exception):\n        Program.load('none')\n"
        + "    try:\n        Program.load('none')\n    except Exception:\n        name = 'none'\n"
        + "    Program.load(name)\n"
    )
    assert harness(folder, "run", "mine", "--list").returncode == 0


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("assert 1 == 2", "assert 1 == 2"),
        (
            "assert 1 == 2\n +  where 1 = value('x')\n +    where value = Decoded(a=(B(c=')'),), other=b'').value",
            "assert 1 == 2\n +  where 1 = value('x')",
        ),
        ("assert Pair(board=Decoded(a=1), b=2) is None", "assert Pair(…) is None"),
        ("assert <harness.judging.Scenario object at 0x7f12> is None", "assert Scenario(…) is None"),
        ("assert Pair(board=Deco...", "assert Pair(…)"),
        ("\n".join("abcdefgh"), "a\nb\nc\nd\ne\nf\n…"),
        ("x" * 300, "x" * 199 + "…"),
        ("", ""),
    ],
)
def test_words_of_an_assert(text: str, short: str) -> None:
    assert assert_words(text) == short
