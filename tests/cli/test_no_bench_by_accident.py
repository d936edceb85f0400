"""Which boards a command takes: never any that nobody named."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.bench import host_machine as machine
from harness.cli import main
from harness.inventory.load import load_bench
from tests.bench.fake_machines import raspberry_pi

VIRTUAL = "boards:\n  - {id: board1, chip: esp32, runtime: micropython, virtual: {}, tags: [quick]}\n"


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def harness(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.parametrize(
    "command", [["run"], ["nightly"], ["flash"], ["boards"], ["watch", "vesp32"], ["qualify", "vesp32"]]
)
def test_without_a_bench_file_nothing_is_tested(empty: Path, command: list[str]) -> None:
    result = harness(*command)
    assert result.exit_code == 2
    assert "harness init" in result.output
    assert "--bench shipped" in result.output
    assert list(empty.iterdir()) == []


def test_the_shipped_boards_are_taken_when_they_are_asked_for(empty: Path) -> None:
    result = harness("boards", "--bench", "shipped")
    assert result.exit_code == 0
    assert "vesp32" in result.output


def test_a_selection_without_a_board_is_refused_with_the_nearest_name(empty: Path) -> None:
    Path("boards.yaml").write_text(VIRTUAL)
    for boards, told in ((",", "names no board"), ("bord1", "board1?"), ("quik", "quick?")):
        result = harness("run", "--boards", boards)
        assert result.exit_code == 2
        assert told in result.output


def test_the_first_line_of_a_run_names_the_bench_and_its_boards(empty: Path) -> None:
    Path("boards.yaml").write_text('name: "lab \\e[31m2"\n' + VIRTUAL)
    result = harness("run", "no-such-suite")
    assert result.exit_code == 2
    assert result.output.splitlines()[0] == "bench lab ?[31m2 (boards.yaml): board1"


def test_init_writes_the_virtual_boards(empty: Path) -> None:
    assert harness("init", "--virtual").exit_code == 0
    assert {board.id for board in load_bench("boards.yaml").boards} >= {"vesp32", "vstm32"}
    before = Path("boards.yaml").read_bytes()
    again = harness("init", "--virtual")
    assert again.exit_code == 2
    assert "already" in again.output
    assert Path("boards.yaml").read_bytes() == before


def test_init_writes_what_is_plugged_in(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = raspberry_pi(empty / "pi")
    monkeypatch.setattr(machine, "Machine", lambda: tree.machine)
    result = harness("init", "--bench", "lab.yaml")
    assert result.exit_code == 0, result.output
    assert len(load_bench("lab.yaml", check_files=False).boards) == 3


def test_init_with_nothing_plugged_in_writes_nothing(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty / "nothing").mkdir()
    monkeypatch.setattr("harness.bench.plugged.list_ports", list)
    monkeypatch.setattr("harness.bench.plugged.plugged_in", lambda _: [])
    result = harness("init")
    assert result.exit_code == 3
    assert "--virtual" in result.output
    assert not Path("boards.yaml").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--jobs", "0"],
        ["run", "--wait", "nan"],
        ["run", "--wait", "-1"],
        ["watch", "x", "--seconds", "inf"],
        ["qualify", "x", "--soak", "nan"],
        ["nightly", "--jobs", "0"],
        ["selfcheck", "--jobs", "0"],
    ],
)
def test_numbers_that_make_no_sense_are_refused(empty: Path, arguments: list[str]) -> None:
    Path("boards.yaml").write_text(VIRTUAL)
    result = harness(*arguments)
    assert result.exit_code == 2
    assert "Invalid value" in result.output
