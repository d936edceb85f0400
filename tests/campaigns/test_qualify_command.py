"""``harness qualify`` and ``harness verify`` on a virtual board, as a user runs them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import main

BENCH = """
boards:
  - id: board
    chip: esp8266
    runtime: micropython
    virtual: {pace: fast}
    firmware: {build: virtual}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "boards.yaml").write_text(BENCH)
    (tmp_path / "plan.yaml").write_text(
        "rounds: 2\nsuites: [calibration]\nsoak_minutes: 0.001\nsoak_suites: [calibration]\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_healthy_board_gets_a_certificate_that_verifies(here: Path) -> None:
    done = CliRunner().invoke(main, ["qualify", "board", "--plan", "plan.yaml", "--out", "out"])
    assert done.exit_code == 0, done.output
    reduced = "qualified by a reduced plan (2 of 3 rounds; only calibration; 0.001 of 10 minutes of soak)"
    assert reduced in done.output
    assert reduced in (here / "out/board.certificate.html").read_text()
    declared = json.loads((here / "out/board.declared.json").read_text())
    sealed = json.loads((here / "out/board.certificate.json").read_text())
    assert sealed["certificate"]["declared"] == declared
    assert [one["kind"] for one in sealed["certificate"]["rounds"]] == ["round", "round", "soak"]
    for kind in ("json", "html"):
        verified = CliRunner().invoke(main, ["verify", f"out/board.certificate.{kind}", "--bench", "boards.yaml"])
        assert verified.exit_code == 0, verified.output
        assert "board with v1" in verified.output
        assert reduced in " ".join(verified.output.split())
    sealed["certificate"]["rounds"][0]["scenarios"][0]["seconds"] += 1
    (here / "out/board.certificate.json").write_text(json.dumps(sealed))
    verified = CliRunner().invoke(main, ["verify", "out/board.certificate.json"])
    assert verified.exit_code == 1
    assert "was changed after it was recorded" in verified.output


def test_a_board_with_defective_firmware_does_not_qualify(here: Path) -> None:
    (here / "plan.yaml").write_text("rounds: 3\nsuites: [flash_execution]\nsoak_minutes: 0\n")
    arguments = ["qualify", "board", "--plan", "plan.yaml", "--variant", "import_leaks"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1, done.output
    assert "not qualified" in done.output
    certificate = json.loads((here / "board.certificate.json").read_text())["certificate"]
    assert len(certificate["rounds"]) == 1  # more rounds could not make it good
    verified = CliRunner().invoke(main, ["verify", "board.certificate.json"])
    assert verified.exit_code == 1
    assert "not qualified" in verified.output


def test_a_board_that_is_not_there_is_a_mistake_of_usage(here: Path) -> None:
    done = CliRunner().invoke(main, ["qualify", "bord"])
    assert done.exit_code == 2
    assert "there is no board 'bord'" in done.output
