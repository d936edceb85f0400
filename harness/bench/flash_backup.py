"""The whole flash of a board in a file, and back. Beside the file stands a note of what chip it is of.

Both go through the board's own ``flash.method``, so that each chip is checked, compared and verified as when firmware
is written. Neither file has its name before it is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness import strict_json
from harness.bench.board_flash import require_identity
from harness.bench.board_port import console_opener
from harness.bench.device import HEARD_WITHIN
from harness.bench.device_of import device_of
from harness.chips import CHIPS, STM32_FLASH_BASE
from harness.errors import BenchFault, UsageError
from harness.flashing.flasher import ChipIdentity, Flasher, FlashImage, FlashJob, FlashReport, Progress
from harness.flashing.mark import WriteMark
from harness.flashing.methods import flasher_for, needs_port
from harness.inventory.fields import FlashCheck
from harness.inventory.locks import board_lock
from harness.inventory.model import Board
from harness.link.panics import printable

#: Bytes that are asked for at a time, and the most that any flash has.
_PIECE, _LARGEST = 64 * 1024, 256 * 1024 * 1024
_NOTE_LIMIT = 16 * 1024
#: Why a chip may hold again what it held, whatever the headers of images in it say.
ITS_OWN = "what this very chip has held"


@dataclass(frozen=True)
class Note:
    """What stands beside a backup. ``mac`` and ``uid`` as in :class:`harness.flashing.flasher.ChipIdentity`; ``size``
    in bytes; ``encrypted``: the chip encrypts its flash, and this is what it looks like to others."""

    chip: str
    description: str
    mac: str
    uid: str
    size: int
    sha256: str
    taken: str
    encrypted: bool = False

    @property
    def whose(self) -> str:
        return self.mac or self.uid or "a chip that tells no number"


def note_of(file: Path) -> Path:
    """Where the note of the backup ``file`` is."""
    return file.with_name(f"{file.name}.json")


@contextmanager
def flasher_of(board: Board, state: Path, progress: Progress, *, purpose: str) -> Iterator[Flasher]:
    """The chip of ``board`` in its boot loader, the board locked meanwhile. ``state`` is the bench's state folder.

    Raises UsageError where nothing here reads or writes that flash, BenchFault when the chip does not answer,
    FinalFault when it is another than the entry's, or not ours any more.
    """
    if board.flash_method in ("none", "command"):
        raise UsageError(
            f"{board.id}: nothing here can read the flash of this {board.chip} (flash.method is {board.flash_method})",
            hint="ESP chips are read through their serial boot loader, STM32 also by dfu and swd; see flash.method",
        )
    device = device_of(board, state)
    with board_lock(board, state, purpose=purpose):
        try:
            device.start(progress)
            address = device.find()
            port = console_opener(board)(address) if needs_port(board) else None
            if port is not None:
                device.listen(lambda _kind, words: progress(words, 0, 0), port.close)
            try:
                with flasher_for(FlashJob(board, port, progress, address)) as flasher:
                    require_identity(board, flasher.identity, address)
                    yield flasher
            except BenchFault:
                if gone := device.why_gone(HEARD_WITHIN):
                    raise gone from None
                raise
            finally:
                if port is not None:
                    port.close()
        finally:
            device.close()


# -- from the chip ---------------------------------------------------------------------------------


def require_free(file: Path) -> None:
    """Raises UsageError when a backup cannot go to ``file``: an older one is never written over."""
    for there in (file, note_of(file)):
        if there.exists():
            raise UsageError(f"{str(there)!a} is there already, and was left as it is", hint="give another name")
    if not file.parent.is_dir():
        raise UsageError(f"{str(file)!a} cannot be written: there is no folder {str(file.parent)!a}")


def back_up(board: Board, state: Path, file: Path, progress: Progress) -> Note:
    """Read the whole flash of ``board`` into ``file``, with its note beside it.

    Raises UsageError where it cannot be read or written, BenchFault when the chip or the line fails. Whatever happens
    on the way, neither file is there then.
    """
    require_free(file)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    digest = hashlib.sha256()
    try:
        with flasher_of(board, state, _but_reading(progress), purpose="harness onboard --backup") as flasher:
            chip = flasher.identity
            size = _size_of(board, chip)
            with part.open("wb") as out:
                for piece in _pieces(flasher, _base(board.chip), size, progress):
                    digest.update(piece)
                    out.write(piece)
                out.flush()
                os.fsync(out.fileno())
        note = Note(
            chip=board.chip,
            description=chip.description,
            mac=chip.mac,
            uid=chip.uid,
            size=size,
            sha256=digest.hexdigest(),
            taken=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
            encrypted=bool(chip.security and chip.security.flash_encryption),
        )
        _place(part, file, note)
        return note
    except OSError as problem:
        raise UsageError(f"{str(file)!a} cannot be written: {problem.strerror or problem}") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _but_reading(progress: Progress) -> Progress:
    """A flasher tells of each piece; here the whole is told."""
    return lambda step, done, total: None if step == "read" else progress(step, done, total)


def _size_of(board: Board, chip: ChipIdentity) -> int:
    if chip.flash_size is None or not 0 < chip.flash_size <= _LARGEST:
        raise BenchFault(
            f"{board.id}: the chip does not tell how large its flash is, so it cannot be read whole",
            hint="read it with the vendor's tool, which can be told the size",
        )
    return chip.flash_size


def _pieces(flasher: Flasher, base: int, size: int, progress: Progress) -> Iterator[bytes]:
    for at in range(0, size, _PIECE):
        progress("reading the flash", at, size)
        yield flasher.read(base + at, min(_PIECE, size - at))
    progress("reading the flash", size, size)


def _place(part: Path, file: Path, note: Note) -> None:
    """Both get their names, the note first: a note without a backup is no backup, and the other way round neither."""
    new = note_of(file)
    new.write_text(json.dumps({"format": 1, **asdict(note)}, indent=2) + "\n", "utf-8")
    try:
        part.replace(file)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def _base(chip: str) -> int:
    return STM32_FLASH_BASE if CHIPS[chip].family == "stm32" else 0


# -- and back --------------------------------------------------------------------------------------


def load(file: Path) -> tuple[Note, bytes]:
    """A backup and its note. Raises UsageError when one of them is missing or damaged."""
    if not file.exists():
        raise UsageError(f"there is no file {str(file)!a}")
    note = _read_note(file)
    try:
        if file.stat().st_size != note.size:
            raise UsageError(
                f"{str(file)!a} has {file.stat().st_size} bytes, its note says {note.size}",
                hint="it was cut off, or is another file; nothing was written",
            )
        data = file.read_bytes()
    except OSError as problem:
        raise UsageError(f"{str(file)!a} cannot be read: {problem.strerror}") from None
    came = hashlib.sha256(data).hexdigest()
    if came != note.sha256:
        raise UsageError(
            f"{str(file)!a} is damaged: its SHA-256 is {came[:16]}…, the note says {note.sha256[:16]}…",
            hint="take another copy of it; nothing was written",
        )
    return note, data


def _read_note(file: Path) -> Note:
    where = note_of(file)
    try:
        with where.open("rb") as stream:
            said = strict_json.loads(stream.read(_NOTE_LIMIT + 1))
        fields = {name: said[name] for name in Note.__dataclass_fields__}
        texts = ("chip", "description", "mac", "uid", "sha256", "taken")
        if said["format"] != 1 or not all(isinstance(fields[name], str) for name in texts):
            raise ValueError
        fields.update({name: printable(fields[name].encode(), 100) for name in texts})
        note = Note(**fields)
        if type(note.size) is not int or not 0 < note.size <= _LARGEST or type(note.encrypted) is not bool:
            raise ValueError
    except FileNotFoundError:
        raise UsageError(
            f"{str(file)!a} has no note beside it ({where.name!a}), so nobody knows which chip it is of",
            hint="'harness onboard PORT --backup FILE' makes both; any image is written with esptool write-flash",
        ) from None
    except OSError as problem:
        raise UsageError(f"{str(where)!a} cannot be read: {problem.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{str(where)!a} is no note of a backup, or damaged; nothing was written") from None
    if note.chip not in CHIPS or CHIPS[note.chip].family == "generic":
        raise UsageError(f"{str(where)!a}: a backup of {note.chip!r}, which is no chip that is known here")
    return note


def restore(
    board: Board,
    state: Path,
    backup: tuple[Note, bytes],
    progress: Progress,
    *,
    other_board: bool = False,
    writing: Callable[[], None] = lambda: None,
) -> FlashReport:
    """Write what differs from the backup, and verify it by what the chip says or reads back. ``writing`` is called
    before the first byte is.

    Raises UsageError for another chip, another board (unless ``other_board``), a smaller flash, and a chip whose fuses
    do not allow it: nothing was written then. Raises BenchFault when the chip or the line fails.
    """
    note, data = backup
    if board.chip != note.chip:
        raise UsageError(
            f"{board.id} has an {board.chip}, this is the backup of an {note.chip}", hint="nothing was written"
        )
    if board.chip == "esp8266" and not board.flash.stub:
        raise UsageError(
            f"{board.id}: without esptool's stub (flash.stub: false) an ESP8266 cannot prove what it holds",
            hint="take that line out; nothing was written",
        )
    mark = WriteMark(state / "flashing", board.id)
    told = mark.watched("a backup", progress)
    with flasher_of(_with_its_own(board) if not other_board else board, state, told, purpose="harness restore") as chip:
        _require_same(board, chip.identity, note, other_board=other_board)
        writing()
        report = chip.write([FlashImage(_base(board.chip), data, "the backup")])
    mark.clear()
    return report


def _with_its_own(board: Board) -> Board:
    """What the chip has held it may hold again, whatever headers in it say."""
    if board.flash_method != "esptool":
        return board
    override: dict[FlashCheck, str] = {"image-chip": ITS_OWN, "image-revision": ITS_OWN, "declared-flash-size": ITS_OWN}
    override.update(board.flash.override)
    return board.model_copy(update={"flash": board.flash.model_copy(update={"override": override})})


def _require_same(board: Board, chip: ChipIdentity, note: Note, *, other_board: bool) -> None:
    for name, was, came in (("MAC", note.mac, chip.mac), ("unique id", note.uid, chip.uid)):
        if was == came:
            continue
        if note.encrypted:
            raise UsageError(
                f"{board.id}: the backup is of an encrypted flash, which only its own chip ({was}) can read; here is "
                f"{came or 'a chip that tells none'}",
                hint="nothing was written",
            )
        if not other_board:
            raise UsageError(
                f"{board.id}: the backup is of the chip with {name} {was or 'none'}, here is {came or 'none'}",
                hint="--other-board writes it all the same, with its settings and keys. Nothing was written",
            )
    if chip.flash_size is not None and chip.flash_size < note.size:
        raise UsageError(
            f"{board.id}: the backup has {note.size // 1024} KB, this chip's flash {chip.flash_size // 1024} KB",
            hint="nothing was written",
        )
