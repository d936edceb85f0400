"""What a VM at a port that nobody knows tells of itself and of its files, asked without writing anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from harness.runtimes.who import ChipNames

if TYPE_CHECKING:
    from harness.link.session import Session
    from harness.runtimes.traits import Means

#: So many files are told by name and size, and the start files beside them.
FILES_SHOWN = 24
#: How much of a start file is read to see whether it does anything, in bytes.
START_FILE_LIMIT = 4096


@dataclass(frozen=True)
class Look:
    """All of it is untrusted text. ``heap`` and sizes in bytes, None and empty: not told.

    ``files`` are name and size (-1: a folder, or not told) of what is in ``folder``, ``more_files`` how many it has
    beside those. ``start_files`` are the texts of those that the VM runs by itself, as far as :data:`START_FILE_LIMIT`.
    ``lfs`` is the size of NodeMCU's Lua Flash Store.
    """

    version: str = ""
    machine: str = ""
    heap: int = 0
    word_size: int = 0
    names: ChipNames = field(default_factory=ChipNames)
    modules: tuple[str, ...] = ()
    floats: bool = False
    ctrl_c: bool = True
    paste_window: int = 0
    mounts: tuple[str, ...] = ()
    folder: str = ""
    files: tuple[tuple[str, int], ...] = ()
    more_files: int = 0
    filesystem_size: int | None = None
    filesystem_free: int | None = None
    start_files: Mapping[str, bytes] = field(default_factory=dict)
    rom_size: int = 0
    lfs: int = 0
    #: Whether the reset lines reset the chip, as it was tried; None: it was not.
    resets: bool | None = None


class Looker(Protocol):
    """Asks the VM on ``session`` and writes nothing, neither to its flash nor to its files. ``means.reset`` is tried.

    Raises BenchFault or FirmwareFailure with what came instead.
    """

    def __call__(self, session: Session, means: Means, start_files: tuple[str, ...], /) -> Look: ...
