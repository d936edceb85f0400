"""The commands of setting up, as a user calls them: what they print, write and end with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.bench import host_machine as machine
from harness.bench import probe_port as probe
from harness.bench.probe_port import Answer
from harness.cli import main
from harness.inventory.load import load_bench
from tests.bench.fake_machines import Tree, raspberry_pi

VIRTUAL = "boards:\n  - {id: v, chip: esp32, runtime: micropython, virtual: {}, firmware: {build: virtual}}\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """The current folder is empty, and the machine is a Raspberry Pi."""
    tree = raspberry_pi(tmp_path / "pi")
    (tmp_path / "bench").mkdir()
    monkeypatch.chdir(tmp_path / "bench")
    monkeypatch.setattr(machine, "Machine", lambda: tree.machine)
    return tree


def harness(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_discover_lists_and_opens_nothing(here: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "open_port", lambda *_, **__: pytest.fail("a port was opened"))
    result = harness("discover")
    assert result.exit_code == 0
    assert "/dev/ttyUSB2" in result.output
    assert "only the location tells them apart" in result.output
    assert "next: harness onboard /dev/ttyUSB" in result.output
    assert list(Path().iterdir()) == []


def test_discover_asks_the_named_port_alone_and_writes_what_it_said(
    here: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answers(port: str) -> Answer:
        asked.append(port)
        return Answer(port, "micropython", "v1.28.0", "ESP32 module with ESP32", "esp32", "24:6f:28:00:00:01")

    monkeypatch.setattr(probe, "probe", answers)
    result = harness("discover", "--probe", "/dev/ttyUSB1", "--write", "boards.yaml", "--json", "out.json")
    assert result.exit_code == 0, result.output
    assert asked == ["/dev/ttyUSB1"]
    first = load_bench("boards.yaml").boards[0]
    assert (first.id, first.identity and first.identity.mac) == ("esp32-000001", "24:6f:28:00:00:01")
    told = json.loads(Path("out.json").read_text())
    assert [change["what"] for change in told["changes"]] == ["added"] * 3
    assert told["probed"][0]["version"] == "v1.28.0"
    assert told["plugged"][0]["shared_serial"] is True


def test_discover_says_when_another_chip_sits_in_a_boards_socket(here: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "probe", lambda port: Answer(port, chip="esp32", mac="24:6f:28:00:00:01"))
    harness("discover", "--probe", "/dev/ttyUSB1", "--write", "boards.yaml")
    monkeypatch.setattr(probe, "probe", lambda port: Answer(port, chip="esp32", mac="24:6f:28:00:00:02"))
    result = harness("discover", "--probe", "/dev/ttyUSB1", "--write", "boards.yaml")
    assert result.exit_code == 3
    assert "mac 24:6f:28:00:00:01 expected, 24:6f:28:00:00:02 came" in result.output


def test_doctor_ends_with_3_when_a_run_would_fail(here: Tree) -> None:
    Path("boards.yaml").write_text(VIRTUAL)
    result = harness("doctor", "--json", "out.json")
    assert result.exit_code == 3
    assert "sudo usermod -aG dialout" in result.output
    checks = {finding["check"] for finding in json.loads(Path("out.json").read_text())["findings"]}
    assert {"permissions", "disk", "tools", "reference VM"} <= checks


def test_doctor_without_boards_is_content(here: Tree) -> None:
    for place in ("1-1.2", "1-1.3", "1-1.4"):
        here.unplug(place)
    Path("boards.yaml").write_text(VIRTUAL)
    assert harness("doctor").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("doctor", "--power", "nobody"), "there is no board 'nobody'"),
        (("doctor", "--bench", "none.yaml"), "there is no bench file 'none.yaml'"),
        (("power", "real", "off"), "nothing can cut its power"),
        (("wiring", "lua"), "its wiring can be checked with MicroPython alone"),
    ],
)
def test_a_users_mistake_ends_with_2_and_one_message(here: Tree, arguments: tuple[str, ...], told: str) -> None:
    real = "  - {{id: {}, chip: esp8266, runtime: {}, identity: {{usb_location: 1-1.{}}}}}\n"
    Path("boards.yaml").write_text(VIRTUAL + real.format("real", "micropython", 2) + real.format("lua", "nodemcu", 3))
    result = harness(*arguments)
    assert result.exit_code == 2, result.output
    assert told in result.output
    assert "Traceback" not in result.output


def test_power_of_a_virtual_board_that_is_not_up_is_a_fault(here: Tree) -> None:
    Path("boards.yaml").write_text(VIRTUAL)
    result = harness("power", "v", "cycle")
    assert result.exit_code == 3
    assert "harness virtual up" in result.output


def test_power_runs_the_boards_own_command(here: Tree) -> None:
    Path("boards.yaml").write_text(
        "boards:\n  - id: r\n    chip: esp32\n    runtime: micropython\n    identity: {usb_location: 1-1.2}\n"
        "    power: {method: command, on_command: [touch, on], off_command: [touch, off], off_seconds: 0.01}\n"
    )
    result = harness("power", "r", "off")
    assert result.exit_code == 0, result.output
    assert (Path("off").exists(), Path("on").exists()) == (True, False)
    assert harness("power", "r", "cycle").exit_code == 0
    assert Path("on").exists()


def test_a_port_that_is_not_on_usb_is_written_when_it_answered(here: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "probe", lambda port: Answer(port, "micropython", "v1.28.0", "a board", "stm32f405"))
    result = harness("discover", "--probe", "/dev/ttyAMA0", "--probe", "rfc2217://lab:4000", "--write", "boards.yaml")
    assert result.exit_code == 0, result.output
    identities = [board.identity for board in load_bench("boards.yaml").boards]
    assert "/dev/ttyAMA0" in [identity.port for identity in identities if identity]
    assert "rfc2217://lab:4000" in [identity.url for identity in identities if identity]
    again = harness("discover", "--probe", "/dev/ttyAMA0", "--write", "boards.yaml")
    assert "added" not in again.output


def test_a_port_that_did_not_answer_is_not_written(here: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.bench.plugged.plugged_in", lambda _: [])
    monkeypatch.setattr(probe, "probe", lambda port: Answer(port, problems=("nothing answers",)))
    result = harness("discover", "--probe", "/dev/ttyAMA0", "--write", "boards.yaml")
    assert "nothing to write" in result.output
    assert not Path("boards.yaml").exists()
