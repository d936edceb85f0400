"""What CircuitPython's supervisor keeps from one life of the VM to the next, and its answers to the guest.

The guest's modules (``supervisor``, ``alarm``, ``microcontroller``, ``countio``, ``storage``) ask here, in words,
while the VM stands still. Rules: CircuitPython ``main.c`` (``run_code_py``), ``supervisor/shared/safe_mode.c``, and
``shared-bindings`` of these modules.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, IntFlag

from harness.chips import Reset
from harness.errors import UsageError
from harness.reference.chip_board import WAKE_EXT0, WAKE_EXT1, WAKE_TIMER, Board, ChipReset
from harness.reference.engine.guest_memory import GuestMemory
from harness.reference.pins import Pin
from harness.reference.supervisor import NODE, Allocation, Region, Span

#: What ``code.py`` may be called, in the order of the search (CircuitPython ``main.c``).
CODE_FILES = ("code.txt", "code.py", "main.py", "main.txt")
#: Size of ``microcontroller.nvm`` on the Espressif port, in bytes.
NVM_SIZE = 8192
_MS = 1_000_000


class RunReason(Enum):
    """Why a life began (``supervisor.runtime.run_reason``)."""

    STARTUP = 0
    AUTO_RELOAD = 1
    SUPERVISOR_RELOAD = 2
    REPL_RELOAD = 3


class SafeMode(Enum):
    """Why no code is run (``supervisor.SafeModeReason``): the ones that can happen here, with upstream's text."""

    NONE = ""
    HARD_FAULT = "Hard fault: memory access or instruction error."
    BROWNOUT = "Power dipped. Make sure you are providing enough power."
    PROGRAMMATIC = "The `microcontroller` module was used to boot into safe mode."


class Ended(Enum):
    """How a code file ended."""

    SUCCESS = "success"
    ERROR = "error"
    RELOAD = "reload"
    DEEP_SLEEP = "deep sleep"
    RESET = "reset"


class NextCode(IntFlag):
    """Options of ``set_next_code_file`` (``SUPERVISOR_NEXT_CODE_OPT_...``)."""

    RELOAD_ON_SUCCESS = 1
    RELOAD_ON_ERROR = 2
    STICKY_ON_SUCCESS = 4
    STICKY_ON_ERROR = 8
    STICKY_ON_RELOAD = 16
    NEWLY_SET = 32


#: ``microcontroller.cpu.reset_reason`` on the ESP32 (``ports/espressif/common-hal/microcontroller/Processor.c``): a
#: pulse at EN switches the whole chip off, and a panic counts as software.
RESET_REASONS = {
    Reset.POWER_ON: "POWER_ON",
    Reset.PIN: "POWER_ON",
    Reset.MACHINE: "SOFTWARE",
    Reset.WATCHDOG: "WATCHDOG",
    Reset.BROWN_OUT: "BROWNOUT",
    Reset.DEEP_SLEEP: "DEEP_SLEEP_ALARM",
}


class _GuestHeap:
    """The heap of the VM that runs, in guest memory. The guest allocates, for only it can, and offers the piece."""

    def __init__(self) -> None:
        self.memory: GuestMemory | None = None
        self.root_word = 0
        self.offered = 0

    @property
    def root(self) -> int:
        return self.memory.read_u32(self.root_word) if self.memory is not None else 0

    @root.setter
    def root(self, address: int) -> None:
        if self.memory is not None:
            self.memory.write_u32(self.root_word, address)

    def allocate(self, size: int) -> int | None:
        offered, self.offered = self.offered, 0
        return offered or None

    def free(self, address: int) -> None:
        """It is off the chain: the guest's next collection takes it."""

    def read(self, address: int, size: int) -> bytes:
        assert self.memory is not None
        return self.memory.read(address, size)

    def write(self, address: int, data: bytes) -> None:
        assert self.memory is not None
        self.memory.write(address, data)


class SupervisorState:
    """One for each run of the chip, from a reset to the next.

    ``board`` stands round the VM; ``exists`` says whether there is such a file; ``sleep_memory`` and ``nvm`` are what
    they hold at the start; ``cause`` is the reset, and ``wake_pins`` what was to end the sleep that came before it.
    Raises UsageError for a sleep memory or a region that cannot be.
    """

    def __init__(
        self,
        board: Board,
        exists: Callable[[str], bool],
        *,
        region_size: int,
        sleep_memory: bytes,
        nvm: bytearray | None = None,
        cause: Reset = Reset.POWER_ON,
        wake_pins: dict[str, int] | None = None,
    ) -> None:
        if len(sleep_memory) > 65536:
            raise UsageError(f"a sleep memory of {len(sleep_memory)} bytes: expected 0 to 65536")
        self.region = Region(region_size)
        self.reason = RunReason.STARTUP
        self.safe_mode = SafeMode.NONE
        #: What the next reset leads to (``microcontroller.on_next_reset``).
        self.next_mode = SafeMode.NONE
        self.autoreload = True
        self.sleep_memory = sleep_memory
        self.nvm = bytearray(b"\xff" * NVM_SIZE) if nvm is None else nvm
        self.read_only = False
        self.cause = cause
        #: How the code that runs has ended, as far as the guest has said so.
        self.ended: Ended | None = None
        self.in_code = False
        #: When the deep sleep that was asked for is over, on the board's clock; None: no time ends it.
        self.wake_ns: int | None = None
        self.wake_pins: dict[str, int] = wake_pins or {}
        self.persisted: Allocation | None = None
        self.next_code: Allocation | None = None
        #: Of what :meth:`harness.reference.supervised.SupervisedVm.allocate` was asked for, the last at the end.
        self.clients: list[Allocation] = []
        self._board = board
        self._exists = exists
        self._began_ns = board.clock.now_ns
        self._situation = NextCode.NEWLY_SET
        self._options = NextCode(0)
        self._heap = _GuestHeap()
        self._page = 0
        # Only the first code after a deep sleep hears what has ended it.
        self._woken = self._wake_words() if cause is Reset.DEEP_SLEEP else ""
        self._counters: dict[int, tuple[int, int]] = {}
        self._count_edge: Callable[[Pin], None] | None = None
        #: Verb to its answer; a seeded defect puts another in its place.
        self.answers: dict[str, Callable[..., str | int | None]] = {
            name.removeprefix("_on_"): getattr(self, name) for name in dir(self) if name.startswith("_on_")
        }

    # -- lives -----------------------------------------------------------------------------------

    @property
    def since_start_ns(self) -> int:
        """``time.monotonic_ns()``: from the chip's reset on."""
        return self._board.clock.now_ns - self._began_ns

    @property
    def attached(self) -> bool:
        """The guest of this life has found its supervisor."""
        return self._page != 0

    def begin_run(self) -> Span:
        """A VM starts: its heap is what is left of the region."""
        self._heap, self._page, self.ended = _GuestHeap(), 0, None
        self._counters.clear()
        if self._board.pins is not None:
            self._board.pins.reset()  # CircuitPython's reset_port, between any two runs
        return self.region.begin_run(lambda _span: self._heap)

    def end_run(self) -> None:
        """The VM has ended, its memory is still there. Raises FirmwareFailure as :meth:`Region.end_run`."""
        if self._page and self._heap.memory is not None:
            self.sleep_memory = self._heap.memory.read(self._page, len(self.sleep_memory))
        self.in_code = False
        self._woken = ""
        try:
            if self.region.running:
                self.region.end_run()
        finally:
            # What the program has damaged is freed.
            self.persisted = self.persisted if self.persisted and self.persisted.pointer else None
            self.next_code = self.next_code if self.next_code and self.next_code.pointer else None

    def begin_code(self) -> str | None:
        """Which file is to be run now; its options count from here."""
        self._options = NextCode(0)
        names = [name for name in CODE_FILES if self._exists(name)]
        if self.next_code is not None:
            data = self.next_code.read()
            self._options = NextCode(data[0]) & ~NextCode.NEWLY_SET
            self.next_code.write(bytes([self._options]))
            wanted = data[1:].split(b"\0")[0].decode("utf-8", "replace")
            names = [wanted] * bool(wanted and self._exists(wanted)) + names
        self._situation = NextCode.NEWLY_SET | NextCode.STICKY_ON_ERROR  # for a run that the host has to break off
        return names[0] if names else None

    def end_code(self, ended: Ended) -> bool:
        """The code file has ended; whether another run follows without a wait."""
        self._situation = NextCode.NEWLY_SET
        if ended is Ended.RELOAD:
            self._situation |= NextCode.STICKY_ON_RELOAD
            return True
        if ended is Ended.SUCCESS:
            self._situation |= NextCode.STICKY_ON_SUCCESS
            return NextCode.RELOAD_ON_SUCCESS in self._options
        if ended is Ended.ERROR:
            self._situation |= NextCode.STICKY_ON_ERROR
            return NextCode.RELOAD_ON_ERROR in self._options
        return False

    def auto_reload(self) -> None:
        """A file was written over USB during the wait."""
        self._situation |= NextCode.STICKY_ON_RELOAD
        self.reason = RunReason.AUTO_RELOAD

    def settle(self) -> None:
        """The wait after a code file is over: its successor is forgotten unless it is new or sticky here."""
        if self.next_code is not None and not NextCode(self.next_code.read()[0]) & self._situation:
            self._forget()
        self._situation = ~NextCode(0)

    def fall_asleep(self) -> None:
        """Arm what is to end the deep sleep."""
        self._board.sources.at_ns = self.wake_ns
        self._arm_pins()

    # -- what the guest asks for -----------------------------------------------------------------

    def serve(self, memory: GuestMemory, request: str) -> str:
        """Answer one request; what is not understood has no effect. May raise ChipReset."""
        verb, *words = request.split()
        self._heap.memory = memory
        answer = self.answers[verb](*(int(word) for word in words)) if verb in self.answers else None
        return "" if answer is None else str(answer)

    def _memory(self) -> GuestMemory:
        assert self._heap.memory is not None
        return self._heap.memory

    def _on_attach(self, root: int) -> int:
        self._page = self._memory().grow(max(1, len(self.sleep_memory)))
        self._memory().write(self._page, self.sleep_memory)
        self._heap.root_word = root
        return self.reason.value

    def _on_sleep_memory(self) -> str:
        return f"{self._page} {len(self.sleep_memory)}"

    def _on_now(self) -> int:
        return self.since_start_ns

    def _on_safe_mode(self) -> str:
        return self.safe_mode.name

    def _on_reset_reason(self) -> str:
        return RESET_REASONS.get(self.cause, "UNKNOWN")

    def _on_autoreload(self) -> int:
        return int(self.autoreload)

    def _on_autoreload_on(self) -> None:
        self.autoreload = True

    def _on_autoreload_off(self) -> None:
        self.autoreload = False

    def _on_read_only(self) -> int:
        return int(self.read_only)

    def _on_remount_read_only(self) -> None:
        self.read_only = True

    def _on_remount_writable(self) -> None:
        self.read_only = False

    # - persisted bytes and the next code file

    def _on_length(self) -> int:
        return -1 if self.persisted is None else self._persisted_length()

    def _on_read(self, address: int) -> None:
        if self.persisted is not None:
            self._memory().write(address, self.persisted.read()[4 : 4 + self._persisted_length()])

    def _on_exists(self, address: int, size: int) -> int:
        return int(self._exists(self._memory().read(address, size).decode("utf-8", "replace")))

    def _on_persist(self, address: int, size: int, offered: int) -> str:
        data = size.to_bytes(4, "little") + self._memory().read(address, size)
        return self._replace("persisted", data, offered)

    def _on_next(self, address: int, size: int, offered: int) -> str:
        options, *name = self._memory().read(address, size)
        return self._replace("next_code", bytes([options | NextCode.NEWLY_SET, *name, 0]), offered)

    def _on_client(self, length: int, offered: int) -> int:
        allocation = self._allocated(length, offered)
        if isinstance(allocation, int):
            return allocation
        self.clients.append(allocation)
        return 0

    def _on_drop(self) -> None:
        self.region.free(self.persisted)
        self.persisted = None

    def _on_forget(self) -> None:
        self._forget()

    def _persisted_length(self) -> int:
        assert self.persisted is not None
        return int.from_bytes(self.persisted.read()[:4], "little")

    def _replace(self, name: str, data: bytes, offered: int) -> str:
        """Put ``data`` in the place of an allocation, which is kept until that has succeeded.

        "0" when it is done; otherwise the size in bytes of the piece that the guest is to offer.
        """
        before: Allocation | None = getattr(self, name)
        if before is None or before.get_length() != (len(data) + 3) & ~3:
            allocation = self._allocated(len(data), offered)
            if isinstance(allocation, int):
                return str(allocation)
            self.region.free(before)
            setattr(self, name, allocation)
            before = allocation
        before.write(data)
        return "0"

    def _allocated(self, length: int, offered: int) -> Allocation | int:
        """A movable one, with the piece that the guest has offered where no hole fits; otherwise the size in bytes of
        the piece that it is to offer, -1 when it has offered one in vain."""
        self._heap.offered = offered
        allocation = self.region.allocate(length, movable=True)
        self._heap.offered = 0
        return allocation or (-1 if offered else NODE + ((length + 3) & ~3))

    def _forget(self) -> None:
        self.region.free(self.next_code)
        self.next_code = None

    # - how a run ends

    def _on_reload(self) -> None:
        self.reason, self.ended = RunReason.SUPERVISOR_RELOAD, Ended.RELOAD

    def _on_success(self) -> None:
        self.ended = Ended.SUCCESS

    def _on_error(self) -> None:
        self.ended = Ended.ERROR

    def _on_reset(self) -> None:
        self.ended = Ended.RESET
        raise ChipReset(Reset.MACHINE)

    def _on_next_mode_safe(self) -> None:
        self.next_mode = SafeMode.PROGRAMMATIC

    def _on_next_mode_normal(self) -> None:
        self.next_mode = SafeMode.NONE

    # - sleep

    def _on_wake_pins(self, *words: int) -> None:
        pins = self._board.pins
        self.wake_pins = {} if pins is None else {
            pins.by_key(key).name: level for key, level in zip(words[::2], words[1::2], strict=True)
        }  # fmt: skip

    def _on_sleep(self, at_ms: int) -> str | None:
        if not self.in_code:
            return "refused"
        self.wake_ns = None if at_ms < 0 else self._began_ns + at_ms * _MS
        self.ended = Ended.DEEP_SLEEP
        return None

    def _on_light(self, at_ms: int) -> str:
        self._arm_pins()
        self._board.light_sleep(None if at_ms < 0 else max(self._board.clock.now_ns, self._began_ns + at_ms * _MS))
        self._board.sources.ext0, self._board.sources.ext1 = None, {}
        return self._wake_words()

    def _on_woken(self) -> str:
        return self._woken

    def _arm_pins(self) -> None:
        sources = self._board.sources
        sources.ext0, sources.ext1 = None, {}
        if len(self.wake_pins) == 1:
            sources.ext0 = next(iter(self.wake_pins.items()))
        else:
            sources.ext1 = dict(self.wake_pins)

    def _wake_words(self) -> str:
        board, pin = self._board, "0"
        if board.wake_reason == WAKE_TIMER:
            return "time 0"
        if board.wake_reason == WAKE_EXT0:
            pin = board.sources.ext0[0] if board.sources.ext0 else next(iter(self.wake_pins), "0")
        elif board.wake_reason == WAKE_EXT1 and board.wake_pins:
            pin = board.wake_pins[0]
        return f"pin {pin}"

    # - the bytes that outlive everything

    def _on_nvm_size(self) -> int:
        return len(self.nvm)

    def _on_nvm_read(self, start: int, address: int, size: int) -> None:
        self._memory().write(address, bytes(self.nvm[start : start + size]))

    def _on_nvm_write(self, start: int, address: int, size: int) -> None:
        self.nvm[start : start + size] = self._memory().read(address, size)

    # - edges that are counted beside the VM

    def _on_count_start(self, key: int, edges: int) -> None:
        self._counters[key] = (edges, 0)
        before = self._board.on_edge
        if before is not None and before is self._count_edge:
            return  # a counter of this VM listens already, and one edge is one for each of them

        def edge(pin: Pin) -> None:
            for key, (kind, count) in self._counters.items():
                if (
                    self._board.pins is not None
                    and pin is self._board.pins.by_key(key)
                    and kind & (1 if pin.level else 2)
                ):
                    self._counters[key] = (kind, count + 1)
            if before is not None:
                before(pin)

        self._count_edge = self._board.on_edge = edge

    def _on_count(self, key: int) -> int:
        return self._counters.get(key, (0, 0))[1]

    def _on_count_set(self, key: int, value: int) -> None:
        self._counters[key] = (self._counters.get(key, (0, 0))[0], value)

    def _on_count_stop(self, key: int) -> None:
        self._counters.pop(key, None)
