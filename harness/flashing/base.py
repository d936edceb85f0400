"""What every way of writing a flash has in common: one file each, and all of them are a :class:`Flasher`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

#: Told what is being done: a step's name, and (done, total) in bytes where that is known, else (0, 0).
Progress = Callable[[str, int, int], None]


def silent(_step: str, _done: int, _total: int) -> None:
    pass


@dataclass(frozen=True)
class FlashImage:
    """``label`` is for messages."""

    offset: int
    data: bytes
    label: str


@dataclass(frozen=True)
class ChipIdentity:
    """``mac`` as ``aa:bb:…``, empty on chips that have none; ``uid`` as hex digits in the order of the bytes in memory,
    empty likewise; ``flash_size`` in bytes, None when the flash chip does not say."""

    chip: str
    description: str
    mac: str
    flash_size: int | None
    uid: str = ""


@dataclass
class FlashReport:
    """Bytes and seconds of one flashing; ``steps`` in order with their seconds."""

    identity: ChipIdentity
    written: int = 0
    unchanged: int = 0
    seconds: float = 0.0
    steps: list[tuple[str, float]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


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
