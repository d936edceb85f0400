"""The whole flash in a file and back: to the byte, by an unmodified esptool's word; and everything that is refused."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.bench import flash_backup
from harness.bench.bench_entries import board_at
from harness.bench.flash_backup import Note, back_up, load, note_of
from harness.chips import MB
from harness.cli import main
from harness.errors import BenchFault, FinalFault, UsageError
from harness.flashing.flasher import ChipIdentity, Security
from harness.virtual.bench import RunningBoard, VirtualSpec, start
from tests.running_boards import tool

ROOT = Path(__file__).parents[2]
MAC = "02:00:00:00:00:21"


def content(size: int, seed: int) -> bytes:
    """Blank in most places, as a flash is, with what two firmwares have in others."""
    data = bytearray(b"\xff" * size)
    some = random.Random(seed)
    for at in (0x1000, 0x8000, size // 2 - 3, size - 0x2000):
        data[at : at + 0x1800] = some.randbytes(0x1800)
    return bytes(data[:size])


@contextmanager
def chip(folder: Path, flash: bytes, name: str = "esp32", **more: object) -> Iterator[RunningBoard]:
    """A virtual chip with ``flash``, at a port that nobody knows."""
    spec = VirtualSpec(
        f"b{name}",
        name,
        str(folder / "chip"),
        **{"flash_size": len(flash), "mac": MAC, "app": "echo", **more},  # type: ignore[arg-type]
    )
    spec.folder.mkdir(parents=True, exist_ok=True)
    spec.flash_file.write_bytes(flash)
    with start(spec) as board:
        yield board


def pty_of(board: RunningBoard) -> str:
    assert board.pty
    return board.pty


def flash_of(folder: Path) -> bytes:
    (file,) = (folder / "chip").glob("*.flash")
    return file.read_bytes()


def saved(board: RunningBoard, folder: Path, chip: str = "esp32") -> Path:
    file = folder / "before.bin"
    back_up(board_at(pty_of(board), chip), folder, file, lambda *_: None)
    return file


def harness(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["esp32", "esp8266"])
def test_another_firmware_is_brought_back_to_the_byte(tmp_path: Path, name: str) -> None:
    before, other = content(MB, 1), content(MB, 2)
    with chip(tmp_path, before, name) as board:
        file = saved(board, tmp_path, name)
        assert file.read_bytes() == before
        note = json.loads(note_of(file).read_text())
        assert (note["chip"], note["mac"], note["size"]) == (name, MAC, MB)
        (tmp_path / "other.bin").write_bytes(other)
        tool("esptool", "--port", pty_of(board), "write-flash", "0", str(tmp_path / "other.bin"))
        assert flash_of(tmp_path) != before
        done = harness("restore", pty_of(board), file)
        assert done.exit_code == 0, done.output
        assert "verified by the chip's own MD5" in done.output
        tool("esptool", "--port", pty_of(board), "verify-flash", "0", str(file))
        tool("esptool", "--port", pty_of(board), "read-flash", "0", str(MB), str(tmp_path / "after.bin"))
        again = harness("restore", pty_of(board), file)
    assert (tmp_path / "after.bin").read_bytes() == before == flash_of(tmp_path)
    assert f": 0 bytes written, {MB} were there already" in again.output


def test_an_stm32_is_read_and_put_back_through_its_boot_loader(tmp_path: Path) -> None:
    before = content(MB, 3)
    with chip(tmp_path, before, "stm32f405", pace="fast") as board:
        unknown = board_at(board.url, "stm32f405")
        file = tmp_path / "stm32.bin"
        note = back_up(unknown, tmp_path, file, lambda *_: None)
        assert (file.read_bytes(), len(note.uid)) == (before, 24)
        written = flash_backup.restore(unknown, tmp_path, load(file), lambda *_: None)
        assert (written.written, written.unchanged) == (0, MB)
        changed = bytearray(before)
        changed[0x8100:0x8180] = bytes(128)
        file.write_bytes(changed)
        note_of(file).write_text(json.dumps({**json.loads(note_of(file).read_text()), "sha256": sha256(changed)}))
        assert flash_backup.restore(unknown, tmp_path, load(file), lambda *_: None).written > 0
    assert flash_of(tmp_path) == bytes(changed)


def sha256(data: bytes | bytearray) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def test_what_the_chip_held_goes_back_though_no_image_would(tmp_path: Path) -> None:
    """An image of another chip where this one boots from: a check for firmware, not for what was there."""
    before = bytearray(content(MB, 4))
    before[0x1000 : 0x1000 + 24] = bytes.fromhex("e9010240") + bytes(8) + bytes([0, 0, 0, 0, 9, 0]) + bytes(6)
    with chip(tmp_path, bytes(before)) as board:
        file = saved(board, tmp_path)
        tool("esptool", "--port", pty_of(board), "erase-flash")
        done = harness("restore", pty_of(board), file)
    assert done.exit_code == 0, done.output
    assert flash_of(tmp_path) == bytes(before)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("cut", "has 1048575 bytes, its note says 1048576"),
        ("bit", "is damaged: its SHA-256 is"),
        ("no note", "has no note beside it"),
        ("bad note", "is no note of a backup"),
        ("hostile note", "is no note of a backup"),
        ("chip", "'esp9' esp9"),
    ],
)
def test_a_damaged_backup_is_refused(tmp_path: Path, what: str, message: str) -> None:
    before = content(MB, 5)
    with chip(tmp_path, before) as board:
        file = saved(board, tmp_path)
        note = json.loads(note_of(file).read_text())
        if what in ("cut", "bit"):
            file.write_bytes(before[:-1] if what == "cut" else before[:-1] + b"\x00")
        elif what == "no note":
            note_of(file).unlink()
        elif what == "chip":
            note_of(file).write_text(json.dumps({**note, "chip": "esp9"}))
            message = "a backup of 'esp9'"
        else:
            bad = "{" if what == "bad note" else json.dumps({**note, "size": "1048576"})
            note_of(file).write_text(bad)
        tool("esptool", "--port", pty_of(board), "erase-flash")
        done = harness("restore", pty_of(board), file)
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert flash_of(tmp_path) == b"\xff" * MB


def test_another_board_is_refused_unless_told(tmp_path: Path) -> None:
    before = content(MB, 6)
    with chip(tmp_path, before) as board:
        file = saved(board, tmp_path)
    with chip(tmp_path, b"\xff" * MB, mac="02:00:00:00:00:22") as board:
        refused = harness("restore", pty_of(board), file)
        assert refused.exit_code == 2, refused.output
        assert f"with MAC {MAC}, here is 02:00:00:00:00:22" in refused.output
        assert flash_of(tmp_path) == b"\xff" * MB
        assert harness("restore", pty_of(board), file, "--other-board").exit_code == 0
    assert flash_of(tmp_path) == before


def test_a_backup_that_is_not_there_is_told_as_that(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="^there is no file '.*nothing.bin'"):
        load(tmp_path / "nothing.bin")


def test_a_board_that_was_swapped_is_never_written(tmp_path: Path) -> None:
    """--other-board is about the backup: the bench file's own word on who the board is stands."""
    with chip(tmp_path, content(MB, 8)) as board:
        file = saved(board, tmp_path)
    with chip(tmp_path, b"\xff" * MB, mac="02:00:00:00:00:23") as board:
        entry = board_at(pty_of(board), "esp32")
        assert entry.identity is not None
        named = entry.model_copy(update={"identity": entry.identity.model_copy(update={"mac": MAC})})
        with pytest.raises(FinalFault, match=f"expected the chip with MAC {MAC}, at .* is 02:00:00:00:00:23"):
            flash_backup.restore(named, tmp_path, load(Path(file)), lambda *_: None, other_board=True)
    assert flash_of(tmp_path) == b"\xff" * MB


def test_another_chip_and_a_smaller_flash_are_refused(tmp_path: Path) -> None:
    with chip(tmp_path, content(2 * MB, 7)) as board:
        file = saved(board, tmp_path)
    with chip(tmp_path, b"\xff" * MB) as board:
        small = harness("restore", pty_of(board), file)
    assert small.exit_code == 2, small.output
    assert "the backup has 2048 KB, this chip's flash 1024 KB" in small.output
    with chip(tmp_path / "two", b"\xff" * (2 * MB), "esp8266") as board:
        other = harness("restore", pty_of(board), file)
    assert other.exit_code == 2, other.output
    assert "expected an esp32" in other.output
    assert flash_of(tmp_path) == b"\xff" * MB
    (tmp_path / "boards.yaml").write_text(
        "boards:\n  - {id: eight, chip: esp8266, runtime: micropython, identity: {port: /dev/ttyS99}}\n"
    )
    entry = harness("restore", "eight", file)
    assert (entry.exit_code, "eight has an esp8266, this is the backup of an esp32" in entry.output) == (2, True)


@pytest.mark.parametrize(
    ("fuses", "message"),
    [
        (("secure-boot",), "has secure boot V1"),
        (("flash-encryption", "no-encrypted-download"), "takes no data to be encrypted any more"),
    ],
)
def test_a_secured_chip_is_refused_as_esptool_does(tmp_path: Path, fuses: tuple[str, ...], message: str) -> None:
    with chip(tmp_path, content(MB, 8)) as board:
        file = saved(board, tmp_path)
    with chip(tmp_path, b"\xff" * MB, fuses=fuses) as board:
        done = harness("restore", pty_of(board), file)
        by_esptool = tool("esptool", "--port", pty_of(board), "write-flash", "0", str(file), check=False)
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert by_esptool.returncode != 0
    assert flash_of(tmp_path) == b"\xff" * MB


def test_an_encrypted_flash_is_noted_and_goes_back_to_its_chip(tmp_path: Path) -> None:
    before = content(MB, 11)
    with chip(tmp_path, before, fuses=("flash-encryption",)) as board:
        file = saved(board, tmp_path)
        assert load(file)[0].encrypted
        tool("esptool", "--port", pty_of(board), "erase-region", "0x8000", "0x2000", "--force")
        done = harness("restore", pty_of(board), file)
    assert done.exit_code == 0, done.output
    assert flash_of(tmp_path) == before


def test_what_an_encrypted_chip_held_is_for_itself_alone() -> None:
    note = Note("esp32", "", MAC, "", MB, "0" * 64, "", encrypted=True)
    chip = ChipIdentity("esp32", "", "02:00:00:00:00:22", MB, security=Security(flash_encryption=True))
    with pytest.raises(UsageError, match="only its own chip"):
        flash_backup._require_same(board_at("/dev/ttyS99", "esp32"), chip, note, other_board=True)


def test_an_older_backup_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "old.bin").write_bytes(b"precious")
    done = harness("onboard", "/dev/no-such-port", "--backup", "old.bin")
    assert done.exit_code == 2
    assert "is there already" in done.output
    assert (tmp_path / "old.bin").read_bytes() == b"precious"


def test_a_board_that_nothing_reads_is_a_clear_refusal(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing here can read the flash of this generic"):
        back_up(board_at("/dev/ttyS99", "generic"), tmp_path, tmp_path / "no.bin", lambda *_: None)


def test_a_failure_on_the_way_leaves_no_file(tmp_path: Path) -> None:
    with chip(tmp_path, content(MB, 9)) as board:

        def stops(step: str, done: int, _total: int) -> None:
            if step == "reading the flash" and done:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            back_up(board_at(pty_of(board), "esp32"), tmp_path, tmp_path / "half.bin", stops)
        board.fault(kind="vanish", after=70_000, seconds=60.0)
        with pytest.raises(BenchFault):
            back_up(board_at(board.url, "esp32"), tmp_path, tmp_path / "half.bin", lambda *_: None)
    assert not [file.name for file in tmp_path.iterdir() if "half" in file.name]


def test_ctrl_c_says_that_there_is_no_backup(tmp_path: Path) -> None:
    with chip(tmp_path, content(2 * MB, 10)) as board:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", "onboard", board.url, "--backup", "half.bin", "--no-run"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            if "reading the flash" in line:
                break
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; no backup was written" in errors
    assert not [file.name for file in tmp_path.iterdir() if "half" in file.name]
    assert not (tmp_path / "boards.yaml").exists()
