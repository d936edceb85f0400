"""What differs between language VMs, one record for each: all that the rest of the harness asks about a runtime.

A further runtime is one folder here with a line in :data:`harness.extensions.OURS`, or one package with an entry point
in the group ``harness.runtimes``; either leads to a :class:`RuntimeTraits`. What does the work is named in the record
as ``module:attribute`` and loaded when it is used, so that the records are light, and what is made of parts above this
room (a reference, firmware for virtual boards) can be named here as well.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from harness import extensions
from harness.errors import UsageError
from harness.runtimes.abilities import Abilities
from harness.runtimes.who import ChipNames

if TYPE_CHECKING:
    from harness.link.session import Session
    from harness.runtimes.interface import BoardRuntime, Intervention

GROUP = "harness.runtimes"
#: The runtime of a scenario that names none, and of a board of which nothing else is known.
DEFAULT_RUNTIME = "micropython"

Language = Literal["python", "lua"]


@dataclass(frozen=True)
class Means:
    """What a client is given beside its session. ``reset`` resets the chip into its application, ``intervene`` does
    what else can be done to the board from outside; None where nothing here can. ``buffer`` as ``console.buffer`` of
    boards.yaml; ``nonces`` makes a conversation repeatable; ``native_usb``: the port is the chip's own, and goes at
    each of its resets."""

    reset: Callable[[], None] | None = None
    intervene: Callable[[Intervention], None] | None = None
    buffer: int | None = None
    nonces: random.Random | None = None
    native_usb: bool = False


class ClientMaker(Protocol):
    """Makes the client of a board on ``session``, which it owns from then on. Nothing is sent yet."""

    def __call__(self, session: Session, means: Means, /) -> BoardRuntime: ...


@dataclass(frozen=True)
class ProbeAnswer:
    """What a VM said of itself when it was asked at a port that nobody knows; empty: not known."""

    runtime: str
    version: str = ""
    machine: str = ""
    uid: str = ""


class Probe(Protocol):
    """Asks what answers on ``session``, and leaves it at the prompt that a person expects. None: not this VM.

    Raises BenchFault or FirmwareFailure with what came instead. It may take ``patience`` seconds.
    """

    def __call__(self, session: Session, patience: float, /) -> ProbeAnswer | None: ...


class AbilitiesAsker(Protocol):
    """Asks the VM behind a runtime what it can do; nothing it asks may hang a board that cannot be reset."""

    def __call__(self, runtime: BoardRuntime, /) -> Abilities: ...


class ChipNamesAsker(Protocol):
    """Asks the VM behind a runtime which chip it runs on."""

    def __call__(self, runtime: BoardRuntime, /) -> ChipNames: ...


@dataclass(frozen=True)
class HeapTolerance:
    """How far heap figures may be from a reference that models another build's allocator, in percent, and why."""

    percent: float
    why: str


@dataclass(frozen=True)
class RuntimeTraits:
    """One language VM. ``name`` is the one of boards.yaml and of the VM itself, ``title`` how people write it.

    Places are ``module:attribute``: ``client`` of a :class:`ClientMaker`, ``reference`` of a
    :data:`harness.judging.references.ReferenceMaker`, ``probe`` of a :class:`Probe`, ``virtual_firmware`` of a
    :class:`harness.virtual.virtual_firmware.FirmwareMaker`; empty where there is none.
    """

    name: str
    title: str
    #: What its programs, and the agent that measures for them, are written in.
    language: Language
    client: str
    reference: str
    probe: str = ""
    virtual_firmware: str = ""
    #: Regular expressions (on bytes) whose group 1 is the version that a firmware image says it holds: banners, and,
    #: looked for only after those of all runtimes, names with a version that may also stand in a help text.
    banners: tuple[bytes, ...] = ()
    version_texts: tuple[bytes, ...] = ()
    #: Whether the version that a real board's image names is the one that its VM tells.
    image_names_version: bool = True
    #: Whether its version tells what its port for a chip promises (:meth:`harness.chips.Chip.port`).
    version_tells_port: bool = False
    #: The files that it runs by itself when it starts.
    start_files: tuple[str, ...] = ()
    #: Whether a restart of the VM alone leaves those out that keep running, and ends what they left running.
    restarts_without_application: bool = False
    #: Whether Ctrl-C ends a program. Without it a board that hangs can only be reset.
    ctrl_c: bool = True
    #: Whether a program that resets the chip is a file that starts in a VM of its own, with nothing there before it.
    resets_from_code_file: bool = False
    #: Whether it mounts a ROMFS image, which the reference then has to have as well.
    mounts_romfs: bool = False
    #: Whether ``harness wiring`` has a program for it.
    checks_wiring: bool = False
    #: What is sent to the running VM so that it starts the chip's USB boot loader.
    enters_usb_loader: bytes = b""
    heap_tolerance: HeapTolerance | None = None
    #: ``module:attribute`` of an :class:`AbilitiesAsker`; empty: such a VM is taken to have all of its kind.
    abilities: str = ""
    #: ``module:attribute`` of a :class:`ChipNamesAsker`; empty: only the names in its facts are known.
    chip_names: str = ""
    #: ``module:attribute`` of a :class:`harness.runtimes.looked.Looker`; empty: only what ``probe`` tells is known.
    look: str = ""
    #: A command of somebody else's that speaks to such a board, with ``{port}``; empty: one for the chip's boot loader.
    client_command: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,39}", self.name):
            raise UsageError(f"{self.name!r} is no name for a runtime", hint="lower-case letters, digits, - and _")
        for place in filter(
            None,
            (
                self.client,
                self.reference,
                self.probe,
                self.virtual_firmware,
                self.abilities,
                self.chip_names,
                self.look,
            ),
        ):
            if not re.fullmatch(r"[\w.]+:[\w.]+", place):
                raise UsageError(f"runtime {self.name}: {place!r} is no place", hint="module:attribute")

    def ask_abilities(self, runtime: BoardRuntime) -> Abilities:
        """What the VM behind ``runtime`` can do. Raises BenchFault for an answer that arrives damaged."""
        if not self.abilities:
            return Abilities()
        ask: AbilitiesAsker = extensions.resolve(self.abilities)
        return ask(runtime)

    def ask_chip_names(self, runtime: BoardRuntime) -> ChipNames:
        """Which chip the VM behind ``runtime`` runs on. Raises BenchFault for an answer that arrives damaged."""
        if not self.chip_names:
            return ChipNames(machine=runtime.facts.machine)
        ask: ChipNamesAsker = extensions.resolve(self.chip_names)
        return ask(runtime)

    def make_client(self, session: Session, means: Means) -> BoardRuntime:
        """The client for a board on ``session``."""
        maker: ClientMaker = extensions.resolve(self.client)
        return maker(session, means)


def runtime_names() -> tuple[str, ...]:
    """The runtimes that there are, from other packages too. Raises UsageError when two packages give the same name."""
    return extensions.names(GROUP)


def traits_of(name: str) -> RuntimeTraits:
    """The record of the runtime ``name``. Raises UsageError when there is none, or its package is at fault."""
    traits = extensions.load(GROUP, name, RuntimeTraits)
    if traits.name != name:
        raise UsageError(f"{GROUP}: {name!r} leads to the traits of {traits.name!r}", hint="give both the same name")
    return traits


def traits_of_vm(name: str) -> RuntimeTraits | None:
    """The same for a name that a VM itself told; None for one that nobody knows (a fork's)."""
    return traits_of(name) if name in runtime_names() else None


def all_traits() -> tuple[RuntimeTraits, ...]:
    """The records of all runtimes, the harness's own first."""
    return tuple(traits_of(name) for name in runtime_names())
