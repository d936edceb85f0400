"""A note in the bench's state folder that a flash is being written: found again, the write was cut off.

It is not trusted for what the chip holds (that is always read back); it only lets the next run say what happened.
"""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

from harness.flashing.flasher import Progress
from harness.link.panics import printable

#: Steps of the flashers after which the flash is no longer what it was.
_CHANGING = frozenset({"erase", "write", "verify", "unprotect"})
#: How often the place in the image is noted, in seconds.
_EVERY = 0.5
_LARGEST = 4096


class WriteMark:
    """The note of one board, in ``folder``. A folder that cannot be written costs the note, not the flashing."""

    def __init__(self, folder: Path, board_id: str) -> None:
        self._file = folder / f"{board_id}.json"
        self._noted = ("", 0.0)

    def found(self) -> str:
        """What an earlier run left: ``a write of X, begun at T, was cut off at 'write', 12288 of 40960 bytes``.

        Empty when there is none.
        """
        try:
            with self._file.open("rb") as file:
                note = json.loads(file.read(_LARGEST))
            what, begun, step = (printable(str(note[key]).encode(), 100) for key in ("what", "begun", "step"))
            done, total = int(note["done"]), int(note["total"])
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return "an earlier write was cut off (its note is damaged)"
        place = f", {done} of {total}" if total else ""
        return f"an earlier write of {what}, begun at {begun}, was cut off at step '{step}'{place}"

    def watched(self, what: str, progress: Progress) -> Progress:
        """``progress``, noting each step that changes the flash before it is taken. ``what`` is being written."""
        begun = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

        def told(step: str, done: int, total: int) -> None:
            if step in _CHANGING:
                now = time.monotonic()
                if step != self._noted[0] or now - self._noted[1] >= _EVERY:
                    self._noted = (step, now)
                    self._write({"what": what[:100], "begun": begun, "step": step, "done": done, "total": total})
            progress(step, done, total)

        return told

    def clear(self) -> None:
        """What was written has been verified."""
        try:
            self._file.unlink(missing_ok=True)
        except OSError:
            return

    def _write(self, note: dict[str, object]) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            new = self._file.with_suffix(".new")
            new.write_text(json.dumps(note))
            os.replace(new, self._file)  # noqa: PTH105 - a reader sees the old note or the new one
        except OSError:
            return
