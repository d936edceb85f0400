"""What a virtual chip needs of the firmware that it boots, and what it offers to it.

The chip (``chip.py``) owns the flash, the line and the reset pins. When its boot ROM accepts what is
in the flash, it hands the payload to an :class:`ApplicationFactory` and runs the result on a thread
of its own until the application asks for a reset or EN goes low.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from harness.virtual.live_board import LiveBoard
    from harness.virtual.nor_flash import Flash


class Ended(Enum):
    """Why an application stopped running."""

    HARD_RESET = "hard reset"  # machine.reset(): the chip goes through its boot ROM again
    DEEP_SLEEP = "deep sleep"  # machine.deepsleep(): the wake sources stand in the board
    WATCHDOG = "watchdog"  # it was not fed in time
    RESET_PIN = "reset pin"  # something on the board pulled the reset input low
    BROWN_OUT = "brown-out"  # the supply dipped
    CRASH = "crash"  # the VM trapped: the chip prints its panic text, then resets by itself
    STOPPED = "stopped"  # EN went low or power was cut: stop() was called


@dataclass(frozen=True)
class Exit:
    """``detail`` is a short plain text for CRASH (which trap, where)."""

    why: Ended
    detail: str = ""


class Console(Protocol):
    """The UART as the running firmware sees it. All methods may be called from the app's thread."""

    def write(self, data: bytes) -> None: ...

    def read(self, size: int, timeout: float | None) -> bytes:
        """Up to ``size`` received bytes; waits at most ``timeout`` seconds (None: for ever) for the first.

        Returns b"" at the timeout, and at once after :meth:`Application.stop`.
        """
        ...

    def waiting(self) -> int:
        """Number of received bytes that can be read without waiting."""
        ...


@dataclass(frozen=True)
class AppContext:
    """What the chip gives to the application at each boot."""

    chip: str  # "esp32", "esp8266", "stm32f405", "stm32l476"
    payload: bytes  # the VM's WebAssembly module, unpacked where the flash holds it packed
    flash: Flash
    partitions: dict[str, tuple[int, int]]  # label -> (offset, size) in bytes, e.g. "vfs", "romfs"
    console: Console
    reset_cause: str  # "power-on", "external", "software", "watchdog", "brown-out", "deep-sleep"
    noinit: dict[str, bytes]  # RAM that keeps its content over resets, lost when power goes
    mac: bytes  # 6 bytes
    board: LiveBoard  # what stands round the chip and outlives its resets
    uid: bytes = b""  # machine.unique_id(); empty: the chip table's


class Application(Protocol):
    def run(self) -> Exit:
        """Run until the firmware wants a reset, crashes, or :meth:`stop` is called."""
        ...

    def stop(self) -> None:
        """EN went low. Called from another thread; ``run`` must return within 100 ms."""
        ...

    def received(self, data: bytes) -> bytes:
        """Called from the line's thread for each received chunk; what it returns is what ``Console.read`` gets.

        The interrupt side of the UART driver: this is where Ctrl-C is noticed.
        """
        ...


class ApplicationFactory(Protocol):
    def __call__(self, context: AppContext) -> Application:
        """Raises ValueError when the payload is not a module this CPU can execute."""
        ...


#: Name of an empty custom section, the last of a module whose port is CircuitPython's.
CIRCUITPYTHON_SECTION = "harness.circuitpython"

#: What kind of firmware a payload is: how it begins, how it ends, and the module whose ``create`` runs it.
_APPLICATIONS = (
    (b"\0asm", CIRCUITPYTHON_SECTION.encode(), "harness.virtual.circuitpython_board"),
    (b"\0asm", b"", "harness.virtual.cpu"),
    (b"NODEMCU\0", b"", "harness.virtual.nodemcu.app"),
)


def application_module(payload: bytes) -> str:
    """The name of the module that runs ``payload``. Raises ValueError for one that no virtual CPU executes."""
    for magic, end, module in _APPLICATIONS:
        if payload.startswith(magic) and payload.endswith(end):
            return module
    raise ValueError("no code that this CPU can execute")
