"""The health of each board of a bench, with reasons and times, kept over runs in one JSON file.

``ok`` → (a bench fault) → ``suspect`` → (a recovery begins) → ``recovering`` → (it helped) → ``suspect`` → (a scenario
comes to its end) → ``ok``. So many faults with nothing good between them: ``quarantined``, until somebody releases
the board or a check of it passes. Only faults of the bench count; a firmware that fails is no sick board.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness.errors import BenchFault

#: This many bench faults in a row put a board into quarantine.
QUARANTINE_AFTER = 3
#: What is kept of the past of each board, in entries; and of one reason, in characters.
_HISTORY, _REASON = 20, 400
_FILE_LIMIT = 4 * 1024 * 1024
_PATIENCE = 10.0


class State(Enum):
    OK = "ok"
    SUSPECT = "suspect"
    RECOVERING = "recovering"
    QUARANTINED = "quarantined"


class Quarantined(BenchFault):
    """The board is not used until it is released."""


@dataclass(frozen=True)
class Health:
    """``since`` is a Unix time; ``faults`` how many bench faults came since something last went well; ``history``
    the newest changes, oldest first, as (Unix time, state, reason)."""

    state: State = State.OK
    since: float = 0.0
    reason: str = ""
    faults: int = 0
    history: tuple[tuple[float, str, str], ...] = ()


class HealthBook:
    """Safe for several processes. A file that is damaged counts as empty: health is a hint, no result.

    Raises BenchFault when the folder cannot be written.
    """

    def __init__(self, state_dir: Path) -> None:
        self._file = state_dir / "health.json"

    def of(self, board: str) -> Health:
        return _from_json(self._read().get(board))

    def fault(self, board: str, reason: str) -> Health:
        """A bench fault has happened."""
        with self._changing() as boards:
            old = _from_json(boards.get(board))
            faults = old.faults + 1
            out = old.state is State.QUARANTINED or faults >= QUARANTINE_AFTER
            new = _changed(old, State.QUARANTINED if out else State.SUSPECT, reason, faults)
            boards[board] = _to_json(new)
        return new

    def recovering(self, board: str, reason: str) -> None:
        """A recovery begins; one that is killed leaves the board in this state, and the next fault goes on from it."""
        self._set(board, State.RECOVERING, reason)

    def recovered(self, board: str, by: str) -> None:
        self._set(board, State.SUSPECT, f"recovered by {by}")

    def went_well(self, board: str) -> None:
        """A scenario came to its end on the board, whatever it found out about the firmware."""
        if self.of(board).state is not State.OK:
            self.release(board, "a scenario came to its end")

    def release(self, board: str, reason: str) -> None:
        with self._changing() as boards:
            boards[board] = _to_json(_changed(_from_json(boards.get(board)), State.OK, reason, 0))

    def require(self, board: str) -> None:
        """Raises Quarantined for a board in quarantine."""
        health = self.of(board)
        if health.state is State.QUARANTINED:
            since = time.strftime("%Y-%m-%d %H:%M", time.localtime(health.since))
            raise Quarantined(
                f"{board} is in quarantine since {since}, after {health.faults} bench faults: {health.reason}",
                hint=f"see to it, then 'harness boards check {board}' or 'harness boards release {board}'",
            )

    # -- the file --------------------------------------------------------------------------------

    def _set(self, board: str, state: State, reason: str) -> None:
        with self._changing() as boards:
            old = _from_json(boards.get(board))
            if old.state is not State.QUARANTINED:
                boards[board] = _to_json(_changed(old, state, reason, old.faults))

    def _read(self) -> dict[str, Any]:
        try:
            with self._file.open("rb") as stream:
                content = json.loads(stream.read(_FILE_LIMIT))
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self._file.with_suffix(".lock"), timeout=_PATIENCE, thread_local=False):
                boards = self._read()
                yield boards
                # Written aside and renamed, so that a reader never sees half a file.
                part = self._file.with_suffix(f".{os.getpid()}.part")
                part.write_text(json.dumps(boards, indent=1))
                part.replace(self._file)
        except (OSError, Timeout) as problem:
            raise BenchFault(
                f"{self._file}: the boards' health cannot be kept: {problem}",
                hint="choose a state directory on a local disk that you may write to",
            ) from None


def _changed(old: Health, state: State, reason: str, faults: int) -> Health:
    now = time.time()
    reason = "".join(char if char.isprintable() else " " for char in reason)[:_REASON]
    history = (*old.history, (now, state.value, reason))[-_HISTORY:]
    # In quarantine the reason that led there stays, and so does its time.
    if old.state is state is State.QUARANTINED:
        return Health(state, old.since, old.reason, faults, history)
    return Health(state, now, reason, faults, history)


def _to_json(health: Health) -> dict[str, Any]:
    return {
        "state": health.state.value,
        "since": health.since,
        "reason": health.reason,
        "faults": health.faults,
        "history": [list(entry) for entry in health.history],
    }


def _from_json(fields: Any) -> Health:
    with contextlib.suppress(ValueError, TypeError, KeyError, OverflowError):
        return Health(
            State(fields["state"]),
            float(fields["since"]),
            str(fields["reason"])[:_REASON],
            int(fields["faults"]),
            tuple((float(at), str(state), str(reason)) for at, state, reason in fields["history"][-_HISTORY:]),
        )
    return Health()
