"""Which build of MicroPython a board's reference is: its own tree's, the nearest that there is, or the prepared one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.chips import CHIPS
from harness.errors import UsageError
from harness.inventory.model import Board, ReferenceTree
from harness.judging.rules import release_of
from harness.runtimes.interface import Facts

if TYPE_CHECKING:
    from harness.reference.own_tree.build import Request


#: What ``built`` is for a board that is to have the prepared build, whatever was built here.
PREPARED = "prepared"


@dataclass(frozen=True)
class Chosen:
    """``module`` is the VM, None: the prepared one. ``label`` names the build and ``why`` says why it is this one.

    ``own``: it was made from the firmware's own source tree, of the version that the board has."""

    module: bytes | None = None
    label: str = "the prepared build"
    why: str = ""
    own: bool = False


def choose(board: Board, facts: Facts, progress: Callable[[str], None]) -> Chosen:
    """The reference's build for a board that answers with ``facts``; may build it. Raises UsageError for one that
    there is not, or that cannot be built."""
    if board.reference is not None:
        return _named(board, board.reference, facts, progress)
    if os.environ.get("HARNESS_VM"):
        return Chosen(None, "the build that HARNESS_VM names", "HARNESS_VM is set")
    from harness.reference.own_tree import kept

    port = CHIPS[board.chip].port
    release = release_of(facts.version)
    near = kept.nearest(release, port.family if port is not None else "") if release else None
    if near is None:
        return Chosen(why=f"none was built here for {release or 'this version'}")
    return Chosen(kept.module_of(near), near.label, "built here, of the same minor release; boards.yaml names none")


def _named(board: Board, wanted: ReferenceTree, facts: Facts, progress: Callable[[str], None]) -> Chosen:
    from harness.reference.own_tree import kept

    if wanted.built == PREPARED:
        return Chosen(why="named in boards.yaml")
    if wanted.built is not None:
        module, said = kept.find(wanted.built)
    elif wanted.file is not None:
        module, said = kept.from_file(wanted.file)
    else:
        module, said, _ = kept.built(_request(wanted), progress)
    if CHIPS[board.chip].port is not None and not any(
        each.name == "MICROPY_VFS_ROM" and each.ours for each in said.settings
    ):
        return Chosen(why=f"{said.label} has no ROMFS (MicroPython has it from 1.25 on), from which the chip is played")
    told = release_of(facts.version)
    if told != said.version:
        return Chosen(
            module, said.label, f"named in boards.yaml, but the board has MicroPython {told or facts.version}"
        )
    return Chosen(module, said.label, "named in boards.yaml as the firmware's own tree", own=True)


def _request(wanted: ReferenceTree) -> Request:
    from harness.reference.own_tree.build import Request
    from harness.reference.own_tree.tree import find_firmware, open_tree

    if wanted.tree is None or wanted.board is None:
        raise UsageError("'reference' in boards.yaml names no tree and board")
    return Request(
        find_firmware(open_tree(Path(wanted.tree)), wanted.board, wanted.variant),
        header=wanted.header,
        defines={name: str(value) for name, value in wanted.define.items()},
        manifest=wanted.manifest,
        built=wanted.build_folder,
        sources=tuple(wanted.sources),
    )
