"""Locks: one run per real board, whatever it is called, and none left behind by the dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.errors import BenchFault
from harness.inventory import discover
from harness.inventory.discover import Port
from harness.inventory.locks import Busy, board_lock, lock_names, read_owner
from harness.inventory.model import Board, Identity, Virtual

HOLD = """
import sys
from pathlib import Path
from harness.inventory import discover
from harness.inventory.discover import Port
from harness.inventory.locks import board_lock
from harness.inventory.model import Board
board = Board.model_validate_json(sys.argv[1])
with board_lock(board, Path(sys.argv[2]), purpose="nightly run"):
    print("held", flush=True)
    sys.stdin.read()
"""


def real(board_id: str, **identity: str) -> Board:
    return Board(id=board_id, chip="esp32", runtime="micropython", identity=Identity.model_validate(identity))


@pytest.fixture(autouse=True)
def users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the user's is one of this test's own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def virtual(board_id: str) -> Board:
    return Board(id=board_id, chip="esp32", runtime="micropython", virtual=Virtual())


Hold = Callable[[Board], subprocess.Popen[str]]


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Hold]:
    """Start another process that holds a board until it is killed or its input ends."""
    started: list[subprocess.Popen[str]] = []

    def hold(board: Board) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, board.model_dump_json(exclude_none=True), str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.wait(timeout=10)


def test_busy_names_the_owner_and_death_releases(hold: Hold, tmp_path: Path) -> None:
    process = hold(real("lab-name", usb_serial="A1B2C3", vid_pid="10c4:ea60"))
    same = real("my-name", usb_serial="A1B2C3", usb_location="1-1.2")
    with pytest.raises(BenchFault) as caught, board_lock(same, tmp_path):
        raise AssertionError("a busy board was handed out")
    text = str(caught.value)
    assert "board 'my-name' is busy as 'lab-name'" in text
    assert f"process {process.pid} on " in text and "(nightly run)" in text and " s (" in text
    assert "try: wait for it to end" in text
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    left = read_owner(same, tmp_path)
    assert left is None or left.pid == process.pid
    with board_lock(same, tmp_path, timeout=5) as owner:
        found = read_owner(same, tmp_path)
        assert found == owner and found.board == "my-name"
    assert read_owner(same, tmp_path) is None


def test_waiting_for_a_board_ends_when_it_is_released(hold: Hold, tmp_path: Path) -> None:
    process = hold(virtual("v"))
    assert process.stdin is not None
    process.stdin.close()
    with board_lock(virtual("v"), tmp_path, timeout=20):
        pass


def test_other_boards_and_the_same_process(tmp_path: Path) -> None:
    with ExitStack() as held:
        held.enter_context(board_lock(virtual("a"), tmp_path))
        held.enter_context(board_lock(virtual("b"), tmp_path))
        with pytest.raises(BenchFault, match="busy"), board_lock(virtual("a"), tmp_path):
            pass
    with board_lock(virtual("a"), tmp_path):
        pass


def test_a_failed_try_leaves_nothing_locked(tmp_path: Path) -> None:
    both = real("both", usb_location="1-1", mac="24:6f:28:00:00:01")
    with board_lock(real("x", usb_location="1-1"), tmp_path):
        with pytest.raises(BenchFault, match="busy"), board_lock(both, tmp_path):
            pass
        with board_lock(real("y", mac="24:6f:28:00:00:01"), tmp_path):
            pass


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ({"mac": "24:6f:28:00:00:01"}, {"mac": "24:6f:28:00:00:01", "usb_location": "1-1"}, True),
        ({"usb_serial": "0001", "usb_location": "1-1"}, {"usb_serial": "0001", "usb_location": "1-2"}, False),
        ({"usb_serial": "A1B2", "usb_location": "1-1"}, {"usb_serial": "A1B2"}, True),
        (
            {"vid_pid": "1a86:7523", "usb_location": "1-1"},
            {"vid_pid": "1a86:7523", "usb_location": "1-2"},
            False,
        ),
        ({"vid_pid": "1a86:7523"}, {"vid_pid": "1a86:7523"}, True),
        ({"url": "socket://localhost:1"}, {"url": "socket://localhost:2"}, False),
    ],
)
def test_what_shares_a_lock(one: dict[str, str], other: dict[str, str], shared: bool) -> None:
    names = set(lock_names(real("a", **one))), set(lock_names(real("b", **other)))
    assert all(names)
    assert bool(names[0] & names[1]) is shared


@pytest.mark.parametrize("note", [b"", b"[]", b"{}", b'{"pid": "x"}', b"[" * 4000, b"\xff"])
def test_a_damaged_note_does_not_matter(tmp_path: Path, note: bytes) -> None:
    board = virtual("v")
    with board_lock(board, tmp_path):
        (tmp_path / "locks" / f"{lock_names(board)[0]}.json").write_bytes(note)
        with pytest.raises(BenchFault, match="busy: another process holds"), board_lock(board, tmp_path):
            pass


def test_a_state_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BenchFault, match="no lock can be taken"), board_lock(virtual("v"), tmp_path / "file"):
        pass


def test_waiting_has_a_limit_and_says_for_whom(tmp_path: Path) -> None:
    board = virtual("a")
    told: list[str] = []
    with board_lock(board, tmp_path, purpose="a test"):
        with pytest.raises(Busy, match=r"waited 0.2 s"), board_lock(board, tmp_path, timeout=0.2, waiting=told.append):
            pass
        with pytest.raises(Busy), board_lock(board, tmp_path, waiting=told.append):
            pass
    assert len(told) == 1 and f"process {os.getpid()}" in told[0]


@pytest.fixture
def link() -> Iterator[tuple[str, str]]:
    """A device, and another name for it in /dev, as udev makes them by id and by path."""
    master, slave = os.openpty()
    name = Path(f"/dev/shm/harness-test-{os.getpid()}")
    name.symlink_to(os.ttyname(slave))
    yield os.ttyname(slave), str(name)
    name.unlink()
    os.close(master)
    os.close(slave)


def test_two_folders_that_name_one_port_by_two_names(tmp_path: Path, link: tuple[str, str]) -> None:
    device, name = link
    with board_lock(real("a", port=device), tmp_path / "one"):
        with pytest.raises(Busy, match="board 'b' is busy as 'a'"), board_lock(real("b", port=name), tmp_path / "two"):
            pass
        with board_lock(real("c", port="/dev/ttyS77"), tmp_path / "two"):
            pass
    with board_lock(real("b", port=name), tmp_path / "two"):
        pass


def test_a_port_by_its_path_and_the_same_by_its_usb_identity(
    tmp_path: Path, link: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    device, name = link
    plugged = [Port(device, "A50285BI", "1-1.2", "0403:6001", "adapter")]
    monkeypatch.setattr(discover, "list_ports", lambda: plugged)
    with board_lock(real("a", usb_location="1-1.2"), tmp_path / "one"):
        with pytest.raises(Busy), board_lock(real("b", port=name), tmp_path / "two"):
            pass
        with board_lock(real("c", usb_location="1-1.3"), tmp_path / "two"):
            pass
    plugged.clear()  # a board that is not there is locked by what it is
    gone = board_lock(real("d", usb_location="1-1.2"), tmp_path / "two")
    with board_lock(real("a", usb_location="1-1.2"), tmp_path / "one"), pytest.raises(Busy), gone:
        pass


def test_virtual_boards_of_two_folders_are_two(tmp_path: Path) -> None:
    with board_lock(virtual("v"), tmp_path / "one"), board_lock(virtual("v"), tmp_path / "two"):
        pass


@pytest.mark.parametrize("kind", ["file", "link", "others"])
def test_a_folder_that_others_can_write_to_is_not_used(tmp_path: Path, users_folder: Path, kind: str) -> None:
    folder = users_folder / f"harness-locks-{os.getuid()}"
    if kind == "file":
        folder.touch()
    elif kind == "link":
        folder.symlink_to(tmp_path)
    else:
        folder.mkdir()
        folder.chmod(0o777)
    with board_lock(real("a", port="/dev/ttyS77"), tmp_path / "one"):
        pass
    assert list(users_folder.glob("harness-locks-*/*.lock")) == []
