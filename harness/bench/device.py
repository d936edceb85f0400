"""A board of the bench as the thing itself, on the desk or in a process: what can be found, opened, fed and touched.

Boards on the desk, of a lab and virtual ones are three makers of it (``real_device.py``, ``lab_device.py``,
``virtual_device.py``); everything else of the bench asks a device what it can do, and not which of them it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from harness.bench.checked_firmware import Report
    from harness.errors import FinalFault
    from harness.flashing.flasher import FlashImage
    from harness.power.switch import PowerSwitch
    from harness.runtimes.interface import Intervention


class FaultInjector(Protocol):
    """Makes things go wrong with a virtual board (docs/faults.md), and counts how often they did."""

    @property
    def faults(self) -> Mapping[str, int]:
        """How often each kind of fault has happened."""
        ...

    def fault(self, **fault: object) -> None:
        """From now on, the fault with these fields of :class:`harness.virtual.faults.Fault`."""
        ...

    def mend(self) -> None:
        """End all faults, and give the port back."""
        ...


class FlashReader(Protocol):
    """Reads the flash of a chip; a :class:`harness.flashing.flasher.Flasher` does."""

    def read(self, offset: int, size: int) -> bytes: ...


#: What has just gone wrong may come of something that has not been heard of for so long, in seconds.
HEARD_WITHIN = 2.0


class Device(Protocol):
    """One board. :meth:`start` comes before everything but :meth:`whereabouts` and :meth:`switch_now`."""

    def listen(self, happened: Callable[[str, str], None], lost: Callable[[], None]) -> None:
        """Whom to tell: ``happened`` of what happens to it by itself (a kind of event, and its words), and ``lost``,
        from another thread, as soon as it is not ours any more."""
        ...

    def start(self, report: Report, wait: float = 0.0) -> None:
        """Have it up; a board on the desk is, one of a lab is acquired, for which ``wait`` seconds are granted.
        ``report`` hears of what takes time. Raises BenchFault when it does not start."""
        ...

    def why_gone(self, patience: float = 0.0) -> FinalFault | None:
        """Why it must not be used any more; None while it is ours. After trouble, what is behind it may take
        ``patience`` seconds to be heard of."""
        ...

    def close(self) -> None:
        """Give back what was taken or started."""
        ...

    def find(self) -> str:
        """Device name or pyserial URL of its port at this moment. Raises BenchFault when it has none."""
        ...

    def whereabouts(self) -> tuple[str, str]:
        """Where it is, and a word on its state, for people. Nothing is started, and nothing raised."""
        ...

    @property
    def holder(self) -> str:
        """Who has it, in words, beside those who lock it on this computer; empty when nobody does."""
        ...

    # -- power and other things a person could do ------------------------------------------------

    @property
    def switch(self) -> PowerSwitch | None:
        """What cuts its power; None when nothing here can."""
        ...

    def switch_now(self) -> PowerSwitch:
        """The same without a start; :meth:`close` comes after it.

        Raises UsageError when nothing can, BenchFault when it would have to be up.
        """
        ...

    @property
    def off_seconds(self) -> float:
        """How long its power must stay off."""
        ...

    @property
    def intervene(self) -> Callable[[Intervention], None] | None:
        """Does what a person would do while it sleeps; None when nobody is there to do it."""
        ...

    @property
    def press(self) -> Callable[[bool], None] | None:
        """Presses its button, or lets it go; None when a person has to."""
        ...

    @property
    def injector(self) -> FaultInjector | None:
        """Makes things go wrong with it; None when only life can."""
        ...

    # -- what it is ------------------------------------------------------------------------------

    @property
    def keeps_host_time(self) -> bool:
        """Whether its waits take as long on the host."""
        ...

    @property
    def our_build(self) -> bool:
        """Whether its VM is one that the harness made, so that its memory and its start files are known."""
        ...

    @property
    def starts_blank(self) -> bool:
        """Whether its flash may hold nothing before a run writes it, so that it has to be written."""
        ...

    def romfs_region(self, flash: FlashReader, images: Sequence[FlashImage]) -> tuple[int, int] | None:
        """(offset, size) of its ROMFS region; None when it has none that is known.

        A partition table is looked for in ``images``, which are about to be written, and else on the chip.
        """
        ...

    @property
    def spare_flash(self) -> int | None:
        """An offset where the flash holds nothing that its VM uses; None when no place is known to be free."""
        ...
