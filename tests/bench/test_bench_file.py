"""discover --write: what a person wrote stays line for line, and what is new comes after it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.bench.bench_entries import update_bench
from harness.bench.plugged import Plugged, plugged_in
from harness.bench.probe_port import Answer
from harness.errors import UsageError
from harness.inventory.load import load_bench
from tests.bench.fake_machines import raspberry_pi, seven_port_hub

MAC = "24:6f:28:00:00:01"
MINE = """\
# my bench
name: lab   # not a typo
boards:

  # the old one
  - id: one       # on the shelf
    chip: esp32
    runtime: micropython
    identity:
      # CH340, no serial
      usb_location: 1-1.4   # blue cable
      vid_pid: 1a86:7523
    tags: [ a,b ]

# after the list
"""


def added(before: str, after: str) -> list[str]:
    """The lines that are new; fails when one of the old ones is gone, changed or in another order."""
    rest = iter(after.splitlines())
    new = []
    for line in before.splitlines():
        for came in rest:
            if came == line:
                break
            new.append(came)
        else:
            raise AssertionError(f"{line!r} is gone")
    return new + list(rest)


def test_a_new_file_can_be_loaded_and_has_every_port(tmp_path: Path) -> None:
    file = tmp_path / "boards.yaml"
    changes = update_bench(file, plugged_in(raspberry_pi(tmp_path / "pi").machine), {})
    assert [change.what for change in changes] == ["added"] * 3
    identities = [board.identity for board in load_bench(file).boards]
    assert [identity and identity.usb_location for identity in identities] == ["1-1.2", "1-1.3", "1-1.4"]
    assert {board.chip for board in load_bench(file).boards} == {"generic"}  # nobody was asked: never written to


def test_every_line_of_the_user_stays_and_a_known_board_is_not_added_again(tmp_path: Path) -> None:
    file = tmp_path / "boards.yaml"
    file.write_text(MINE)
    changes = update_bench(file, plugged_in(raspberry_pi(tmp_path / "pi").machine), {})
    assert [(change.what, change.port) for change in changes if change.board == "one"] == [("known", "/dev/ttyUSB2")]
    new = added(MINE, file.read_text())
    assert sum("- id: " in line for line in new) == 2
    assert load_bench(file).boards[0].id == "one"


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "boards.yaml"
    seen = plugged_in(seven_port_hub(tmp_path / "hub").machine)
    update_bench(file, seen, {})
    first = file.stat()
    assert {change.what for change in update_bench(file, seen, {})} == {"known"}
    assert file.stat().st_mtime_ns == first.st_mtime_ns
    assert file.stat().st_ino == first.st_ino


@pytest.mark.parametrize("flow", [False, True])
def test_a_mac_that_was_asked_goes_into_the_identity_of_a_known_board(tmp_path: Path, flow: bool) -> None:
    before = MINE
    if flow:
        start, end = MINE.index("    identity:"), MINE.index("    tags")
        before = MINE[:start] + "    identity: {usb_location: 1-1.4}   # blue\n" + MINE[end:]
    file = tmp_path / "boards.yaml"
    file.write_text(before)
    seen = plugged_in(raspberry_pi(tmp_path / "pi").machine)[2:]
    answer = Answer("/dev/ttyUSB2", "micropython", "v1", "", "esp32", MAC)
    assert [change.what for change in update_bench(file, seen, {"/dev/ttyUSB2": answer})] == ["updated"]
    board = load_bench(file).boards[0]
    assert board.identity is not None
    assert board.identity.mac == MAC
    if flow:
        assert f'identity: {{usb_location: 1-1.4, mac: "{MAC}"}}   # blue' in file.read_text()
    else:
        assert added(before, file.read_text()) == [f'      mac: "{MAC}"']


def test_another_chip_in_the_socket_of_a_known_board_is_told_and_not_written(tmp_path: Path) -> None:
    file = tmp_path / "boards.yaml"
    text = MINE.replace("    tags", "      mac: 24:6f:28:00:00:99\n    tags")
    file.write_text(text)
    seen = plugged_in(raspberry_pi(tmp_path / "pi").machine)[2:]
    changes = update_bench(file, seen, {"/dev/ttyUSB2": Answer("/dev/ttyUSB2", chip="esp32", mac=MAC)})
    assert [(change.what, change.board) for change in changes] == [("differs", "one")]
    assert MAC in changes[0].detail
    assert file.read_text() == text


def test_what_a_board_said_makes_its_entry(tmp_path: Path) -> None:
    file = tmp_path / "boards.yaml"
    seen = plugged_in(raspberry_pi(tmp_path / "pi").machine)[:1]
    update_bench(file, seen, {"/dev/ttyUSB1": Answer("/dev/ttyUSB1", "micropython", "v1.28", "", "esp32", MAC)})
    board = load_bench(file).boards[0]
    assert (board.id, board.chip, board.identity and board.identity.mac) == ("esp32-000001", "esp32", MAC)


def test_a_wrong_file_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "boards.yaml"
    file.write_text("boards:\n  - id: one\n    chip: esp33\n")
    with pytest.raises(UsageError, match="esp33"):
        update_bench(file, plugged_in(raspberry_pi(tmp_path / "pi").machine), {})
    assert file.read_text() == "boards:\n  - id: one\n    chip: esp33\n"
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_entries_that_do_not_fit_leave_the_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "boards.yaml"
    text = MINE.replace("vid_pid: 1a86:7523", "usb_serial: other")
    file.write_text(text)  # at the socket of a board that is plugged in, but with another serial number
    with pytest.raises(UsageError, match=r"left as it is.*\n.*usb_location '1-1.4' is also that of boards\[0\]"):
        update_bench(file, plugged_in(raspberry_pi(tmp_path / "pi").machine), {})
    assert file.read_text() == text


@given(
    serial=st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_categories=["C"]), max_size=30),
    dash=st.integers(0, 6),
    gap=st.sampled_from(["", "\n", "# c\n", "   \n# d\n\n"]),
)
@settings(max_examples=60, deadline=None)
def test_any_serial_number_comes_back_from_any_layout(
    tmp_path_factory: pytest.TempPathFactory, serial: str, dash: int, gap: str
) -> None:
    file = tmp_path_factory.mktemp("b") / "boards.yaml"
    pad = " " * dash
    lines = ("- id: a", "  chip: esp32", "  runtime: nodemcu", "  identity: {port: /dev/x}")
    before = f"boards:\n{gap}" + "".join(f"{pad}{line}\n" for line in lines) + gap
    file.write_text(before + "name: z\n")
    one = Plugged("port", "/dev/ttyUSB9", "1a86:7523", serial, "1-9", "p", "CH340")
    update_bench(file, [one], {})
    added(before + "name: z\n", file.read_text())
    board = load_bench(file).boards[1]
    assert board.identity is not None
    assert (board.identity.usb_serial or "") == serial
