"""The results store that ``--store`` names, opened for a command."""

from __future__ import annotations

from pathlib import Path

from harness.errors import UsageError
from harness.paths import state_dir
from harness.results.database import Location, location
from harness.results.store import Store


def where(option: str) -> Location:
    return location(option, state_dir(Path("boards.yaml")) / "results.sqlite")


def open_store(option: str) -> Store:
    """The store that ``--store`` names. Raises UsageError for a file that is not there: reading makes none."""
    place = where(option)
    if isinstance(place, Path) and not place.exists():
        raise UsageError(
            f"there is no results store {str(place)!r}", hint="name one with --store, or run 'harness run'"
        )
    return Store(place)
