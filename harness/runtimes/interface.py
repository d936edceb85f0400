"""The one interface that boards and the reference VM share: something that runs a program.

A scenario never asks which of the two it has. What differs between them is in :class:`Facts`,
and the comparison rules in ``harness.judging`` follow from those facts alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from harness.link.session import Session

ObjectRepr = Literal["A", "B", "C", "D"]


@dataclass(frozen=True)
class Facts:
    """What a language VM says about itself, read once after a start.

    ``word_size`` in bytes; ``heap_total`` in bytes as ``gc.mem_alloc() + gc.mem_free()`` gives it;
    ``object_repr`` is MicroPython's (float objects of representation C are inline and cost nothing).
    """

    name: str  # "micropython", "circuitpython", "nodemcu"
    version: str
    machine: str
    word_size: int
    object_repr: ObjectRepr | None
    heap_total: int
    mpy: int  # sys.implementation._mpy, 0 when the VM loads no .mpy files
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def mpy_version(self) -> int:
        """Of the ``.mpy`` files that the VM loads; 0 when it loads none."""
        return self.mpy & 0xFF


@dataclass(frozen=True)
class RunResult:
    """What one program printed, byte for byte, and the traceback it ended with (empty: none).

    ``seconds`` is host wall time from the first byte sent to the end of the output.
    """

    stdout: bytes
    stderr: bytes
    seconds: float


@dataclass(frozen=True)
class Restart:
    """A program that ended in a reset of the chip, or in deep sleep.

    ``stdout`` is what it printed; ``silent`` how many seconds passed from the last byte of that to the first of
    the next start, by the host's clock (on the reference VM by its virtual one); ``boot`` what the board printed
    from there to its prompt.
    """

    stdout: bytes
    silent: float
    boot: bytes = b""


@dataclass(frozen=True)
class Intervention:
    """What is done to the board while it sleeps, ``after`` seconds from its last output.

    ``reset`` pulses the reset input, ``power`` cuts the power and gives it back, ``pin`` holds a pin at a level until
    the chip has started.
    """

    after: float
    what: Literal["reset", "power", "pin"] = "reset"
    pin: int | str = ""
    level: int = 1


#: How the agent's last record begins, after which a program may let the chip go.
LAST_RECORD = b"|end|-|-|"


@runtime_checkable
class Runtime(Protocol):
    """A running language VM.

    Every method raises :class:`harness.errors.BenchFault` when the link or the bench fails, and
    :class:`harness.errors.FirmwareFailure` when the VM itself crashed or hung.
    """

    @property
    def facts(self) -> Facts: ...

    def run(self, source: str, *, timeout: float = 30.0, interrupt_at: bytes = b"") -> RunResult:
        """Execute ``source`` in a fresh ``__main__`` namespace state as the VM leaves it.

        ``timeout`` bounds the whole execution in seconds; a program that does not end in time is
        interrupted (Ctrl-C on a board) and reported as :class:`FirmwareFailure`. As soon as the output contains
        ``interrupt_at`` it gets one Ctrl-C on purpose.
        """
        ...

    def put(self, path: str, data: bytes) -> None:
        """Write a file on the VM's filesystem, and verify it by hash."""
        ...

    def get(self, path: str) -> bytes: ...

    def remove(self, path: str) -> None: ...

    def soft_reset(self) -> None:
        """End the VM and start it again (``main.py`` is not run); ready for :meth:`run` on return."""
        ...

    def hard_reset(self) -> None:
        """Reset the chip; ready for :meth:`run` on return."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class ChipRuntime(Runtime, Protocol):
    """A language VM on a chip that can be reset and put to sleep."""

    def run_to_reset(self, source: str, *, within: float = 30.0, intervention: Intervention | None = None) -> Restart:
        """Execute a program that resets the chip or puts it into deep sleep; ready for :meth:`run` on return.

        The program must print the agent's end record before. Raises FirmwareFailure when it ends otherwise, or when
        the chip does not start again ``within`` seconds; BenchFault when there is nothing here that could be the
        ``intervention``.
        """
        ...

    def restart_by(self, source: str) -> None:
        """Execute a program that ends the VM, but not the chip's run; ready for :meth:`run` on return.

        Raises FirmwareFailure when the VM goes on instead.
        """
        ...


@runtime_checkable
class RomWriter(Protocol):
    """A VM that writes its ROMFS segment itself."""

    def rom_start(self, length: int) -> bytes:
        """The first ``length`` bytes of it, at most 64."""
        ...

    def write_rom(self, image: bytes) -> None:
        """Write and check it; it is mounted when the VM starts again. Raises Refused when the VM does not take it."""
        ...


@runtime_checkable
class StartsApplication(Protocol):
    """A VM that can be restarted as its chip starts it, its start files included, without a reset line."""

    def restart_with_application(self) -> None:
        """Ready for :meth:`Runtime.run` on return: what runs by itself was interrupted. Raises as :meth:`enter`."""
        ...


@runtime_checkable
class CodeRuntime(ChipRuntime, Protocol):
    """A language VM whose supervisor runs code files, each in a VM of its own (CircuitPython)."""

    def run_code(self, source: str, *, timeout: float = 30.0, interrupt_at: bytes = b"") -> tuple[bytes, ...]:
        """Run ``source`` as ``code.py`` is run, and what it leads to; what each of the runs printed, errors included.

        Returns when the board waits for a key. ``interrupt_at`` as for :meth:`run`. Raises FirmwareFailure when it
        does not come to that within ``timeout`` seconds.
        """
        ...

    def reload_while_waiting(self, *, timeout: float = 30.0) -> tuple[bytes, ...]:
        """Ctrl-D while it waits for a key after :meth:`run_code`: what each of the runs printed."""
        ...


@runtime_checkable
class LfsRuntime(ChipRuntime, Protocol):
    """A language VM with a Lua Flash Store (NodeMCU)."""

    def listdir(self, path: str = "/") -> list[str]: ...

    def reload_lfs(self, path: str) -> str:
        """``node.LFS.reload``: put the image in that file into LFS. What the firmware says against it, or nothing."""
        ...


@dataclass(frozen=True)
class LfsState:
    """What a firmware says of its Lua Flash Store: where its region begins in the flash and where the CPU sees it, the
    region's size and how much of it the loaded image takes (0: none is loaded), in bytes; when that image was built (a
    Unix time, 0: not told), and what the firmware computes with, "float" or "integer"."""

    base: int
    mapped: int
    size: int
    used: int
    built: int
    numbers: str


@runtime_checkable
class LfsTeller(Protocol):
    """A board's VM that can be asked for the state of its Lua Flash Store."""

    @property
    def lfs_start_words(self) -> str:
        """What the last start that was heard said about an image that it did not load; empty when nothing."""
        ...

    @property
    def loaded_own_lfs(self) -> bool:
        """Whether the last image that was loaded in this session was one of the harness's own."""
        ...

    def lfs_state(self) -> LfsState | None:
        """None: the firmware does not know the question."""
        ...


@runtime_checkable
class Sweeper(Protocol):
    """A client that takes off its board what the harness has put there."""

    def sweep(self, base: str, own_folder: str) -> None:
        """Give files back that were set aside (:func:`harness.runtimes.own_files.set_aside`), and remove the harness's
        own folder below ``base`` with all that is in it. Raises Refused when that cannot be."""
        ...


@runtime_checkable
class BoardRuntime(ChipRuntime, Protocol):
    """A language VM on a real or virtual board, at the other end of a serial session."""

    session: Session

    @property
    def can_reset(self) -> bool:
        """Whether the wiring has a way to reset the chip."""
        ...

    @property
    def can_intervene(self) -> bool:
        """Whether something can cut its power and drive its pins."""
        ...

    def read_facts(self) -> Facts:
        """Ask the VM once more who it is; :attr:`facts` stay what they were. Raises BenchFault for a damaged answer."""
        ...

    def verify_programs(self, on: bool) -> None:
        """From now on each program proves that it arrived whole, as all do once a board is made ready; or does not.

        :meth:`run` and its like raise BenchFault for one that did not arrive.
        """
        ...

    def enter(self, *, after_reset: bool = False) -> None:
        """Take the board to where it accepts programs, and prove that it listens. Raises BenchFault with what came."""
        ...
