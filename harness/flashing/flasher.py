"""What every way of writing a flash has in common: one file each, and all of them are a :class:`Flasher`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from harness.inventory.model import Board

#: Told what is being done: a step's name, and (done, total) in bytes where that is known, else (0, 0).
Progress = Callable[[str, int, int], None]


#: How long a person may take to press a board's buttons, in seconds.
BY_HAND_WITHIN = 120.0


def silent(_step: str, _done: int, _total: int) -> None:
    pass


@dataclass(frozen=True)
class FlashImage:
    """``label`` is for messages. ``room`` bytes from ``offset`` on are the image's own: of what stands there behind
    ``data`` nothing has to be kept."""

    offset: int
    data: bytes
    label: str
    room: int = 0


@dataclass(frozen=True)
class Security:
    """What the fuses of a chip forbid; each is None where the chip does not tell.

    ``secure_download``: its boot loader neither reads nor tells anything. ``plain_only``: what the boot loader writes
    is not encrypted on its way, and so does not start on a chip that encrypts its flash.
    """

    secure_boot: bool | None = None
    flash_encryption: bool | None = None
    plain_only: bool | None = None
    secure_download: bool | None = None


@dataclass(frozen=True)
class ChipIdentity:
    """``mac`` as ``aa:bb:…``, empty on chips that have none; ``uid`` as hex digits in the order of the bytes in memory,
    empty likewise; ``flash_size`` in bytes, None when the flash chip does not say; ``security`` None where the chip has
    no such fuses, or was not asked."""

    chip: str
    description: str
    mac: str
    flash_size: int | None
    uid: str = ""
    security: Security | None = None


@dataclass
class FlashReport:
    """Bytes and seconds of one flashing; ``steps`` in order with their seconds. ``overridden`` are the checks that were
    passed over because the bench file says so, with its reasons; they are among the ``warnings`` too. ``proved``: the
    chip itself has told that it holds all of it. ``by_hand``: a person brought it into its boot loader, and has to
    start its application."""

    identity: ChipIdentity
    written: int = 0
    unchanged: int = 0
    seconds: float = 0.0
    steps: list[tuple[str, float]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    overridden: list[str] = field(default_factory=list)
    proved: bool = False
    by_hand: bool = False

    def after(self, before: FlashReport) -> None:
        """Count in an earlier write of the same images, after which the board had to be written again."""
        self.written += before.written
        self.unchanged = min(self.unchanged, before.unchanged)
        self.seconds += before.seconds
        self.steps = before.steps + self.steps
        self.warnings = list(dict.fromkeys([*before.warnings, *self.warnings]))


class Flasher(Protocol):
    """A chip whose flash can be written. A context manager: it always ends with the chip's application starting.

    Entering raises UsageError when the chip is not the expected one, BenchFault when none answers; nothing has been
    erased then.
    """

    identity: ChipIdentity

    def write(self, images: list[FlashImage]) -> FlashReport:
        """Write what differs and verify it. Nothing is erased when an image does not fit."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """Read ``size`` bytes of the flash."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


@dataclass(frozen=True)
class FlashJob:
    """What a way of writing is given: the board's entry, its serial port, and whom to tell.

    ``port`` is open, or None for a method that needs none; ``address`` is where the board's port is, empty when it has
    none now. ``enter_loader`` brings a board that runs into its USB boot loader. ``attended``: a person reads what
    ``progress`` is told, and can press buttons.
    """

    board: Board
    port: Any
    progress: Progress
    address: str = ""
    enter_loader: Callable[[], None] | None = None
    attended: bool = False


@dataclass(frozen=True)
class FlashingMethod:
    """One ``flash.method`` of boards.yaml: a file of this room, or an entry point of the group ``harness.flashing``.

    ``make`` gives a :class:`Flasher` that has not been entered; it raises UsageError for settings that cannot be. With
    ``needs_port`` it writes through the board's serial port; without, the port is closed while it writes, and may come
    and go.
    """

    name: str
    make: Callable[[FlashJob], Flasher]
    needs_port: bool = True
