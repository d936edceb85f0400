"""The raw REPL of a MicroPython-family board over a serial session: getting hold of it, programs, restarts.

Protocol: MicroPython reference manual, "The MicroPython Interactive Interpreter Mode (aka REPL)", sections
"Raw mode" and "Raw-paste mode". The board stays in raw mode between programs; nothing here sleeps.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import string
import time
from collections.abc import Callable
from typing import TypeVar

from harness.errors import BenchFault, FirmwareFailure, HarnessError
from harness.link.deadline import Deadline
from harness.link.panics import BANNER, crashed, printable
from harness.link.session import Reason, Session
from harness.runtimes.ask_names import DamagedAnswer, read_facts
from harness.runtimes.interface import Facts, Intervention, RunResult
from harness.runtimes.micropython.raw_programs import EOF, GRACE, RawPrograms
from harness.runtimes.micropython.verified import DamagedProgram, NoRoom, of_compiling
from harness.runtimes.pieces import statements
from harness.runtimes.recorded import recorded_call

_RAW_BANNER = b"raw REPL; CTRL-B to exit\r\n"
RAW_PROMPT = _RAW_BANNER + b">"
#: What a start takes at most until there is a prompt, in seconds, and prints at most, in bytes.
_START, _START_PRINTS = 3.0, 8192
#: What a VM says when it starts again, and how long a start file then has to be under way, in seconds.
_RESTARTED, _ITS_TURN = b"soft reboot\r\n", 0.1
#: Rounds of asking in peace before Ctrl-C goes out again and again, so that one meets the moment between a start and
#: the application's first sleep; how long that goes on at a time, and the time between two, in seconds.
_PEACEFUL = 3
_INSISTING, _BETWEEN = 3.0, 0.03
#: How long a board that says that it does not start is asked all the same, in seconds: a program may have said it.
_DOUBT = 4.0
#: To tell a firmware that loses bytes from a line that does: programs by each path, and how long they are, in bytes.
_PROOFS, _PROOF_LIMIT = 3, 2048
_T = TypeVar("_T")


class RawRepl(RawPrograms):
    """What every board with a raw REPL has in common of :class:`harness.runtimes.interface.BoardRuntime`.

    ``reset`` resets the chip into its application; None when the wiring has no way to. ``intervene`` does what else can
    be done to the board from outside. ``boot_timeout`` is how long the VM may take to answer after a reset, in seconds.
    ``buffer`` is how many bytes its input takes at once, where that is little and nothing slows the line down; only
    VMs without raw paste need it. ``nonces`` makes the handshake repeatable, for replaying a transcript.
    """

    #: What the VM printed at its last soft reset.
    _restart_said = b""
    #: What a start of the chip ends with.
    _started: tuple[bytes, ...] = (b">>> ", RAW_PROMPT)

    def __init__(
        self,
        session: Session,
        *,
        reset: Callable[[], None] | None = None,
        intervene: Callable[[Intervention], None] | None = None,
        boot_timeout: float = 15.0,
        buffer: int | None = None,
        nonces: random.Random | None = None,
        native_usb: bool = False,
    ) -> None:
        super().__init__(session, reset, intervene, native_usb, buffer)
        self._boot_timeout = boot_timeout
        self._random = nonces or random.Random()
        #: What is wrong with the VM's raw paste; the plain raw REPL is used since it was found out.
        self.path_trouble = ""
        self._paste_proven = False
        self._facts: Facts | None = None

    # -- getting hold of it ----------------------------------------------------------------------

    @recorded_call
    def enter(self, *, after_reset: bool = False) -> None:
        """Take the board to raw mode and prove that it listens.

        Works on a board that prints garbage first (a ROM at another baud rate), whose ``main.py`` never ends, or
        that sits in any REPL mode. An application that sleeps or restarts soon is met in a wait or a loop before; one
        that has none cannot be: Ctrl-C is input until a start file runs, and straight code does not look at it
        (MicroPython ``shared/runtime/pyexec.c``, ``py/vm.c``). Raises BenchFault with what came when it does not
        answer, ApplicationInTheWay when that is a program's doing.
        """
        with self.session.expecting_reset():
            self._enter(after_reset)

    def _enter(self, after_reset: bool) -> None:
        end = Deadline(self._boot_timeout)
        self._begin_to_listen(after_reset)
        self._window = 0
        idle, doubt = 0.3, None
        if after_reset:
            self._listen_to_the_start(end.at_most(_START))
        for round_number in itertools.count():
            # The first Ctrl-C ends a program, the second one that catches it; then the line is empty.
            self._say_while_starting(b"\r\x03\x03")
            self._hear(b">>> ", b"\r\n>", idle=idle / 3, deadline=end.at_most(1.0))
            self._say_while_starting(b"\x01")
            read = self._hear(RAW_PROMPT, idle=idle, deadline=end.at_most(1.0))
            if read.ok and self._shake_hands(end):
                self._in_hand = self._answered = True
                self._entered(self._heard)
                return
            if self._trouble_heard():
                doubt = doubt or end.at_most(_DOUBT)
            if end.passed or (doubt is not None and doubt.passed):
                raise self._no_answer(
                    f"no raw REPL within {self._boot_timeout:g} s",
                    "is there MicroPython on the board, is console.baud right, does main.py swallow KeyboardInterrupt?",
                )
            if (round_number >= _PEACEFUL - 1 and (after_reset or self._heard)) or self._trouble_heard():
                self._insist(end)
            idle = min(idle * 1.7, 2.0)

    def _ask_for_a_prompt(self) -> None:
        """On a port that has come back: what the start printed has gone with the one before, the prompt too. An empty
        line leads to another, and interrupts nothing."""
        self._came_back = False
        self._say_while_starting(b"\r")

    def _listen_to_the_start(self, end: Deadline) -> None:
        """Until a prompt, silence, or what tells that the start is over and a program of the board's own goes on: it
        prints more than a start does, or has restarted the VM once more than we can have."""
        if self._came_back:
            self._ask_for_a_prompt()
        for _ in range(2):
            read = self._hear(*self._started, _RESTARTED, idle=_START / 2, deadline=end, limit=_START_PRINTS)
            if read.matched != _RESTARTED:
                return
        self._hear(*self._started, idle=_ITS_TURN, deadline=end.at_most(_ITS_TURN))

    def _insist(self, end: Deadline) -> None:
        """Ctrl-C again and again, from a reset on where this has one: a start file takes the first that it meets."""
        if self._after_reset and self._reset is not None:
            self._heard = BANNER.sub(b"", self._heard)  # the starts until here are no loop of the chip's: we reset it
            self._pulse_reset()
        insisting = end.at_most(_INSISTING)
        while not insisting.passed:
            self._say_while_starting(b"\x03")
            if self._hear(b">>> ", idle=_BETWEEN, deadline=insisting.at_most(_BETWEEN)).ok:
                return

    def _entered(self, heard: bytes) -> None:
        """The board is in hand; ``heard`` is the end of what it said until then."""

    def _shake_hands(self, end: Deadline) -> bool:
        """A question whose answer differs from its echo, so that an echo or an old answer is not taken for it."""
        self.session.drain(quiet=0.01, deadline=1.0)
        a, b = self._random.randrange(10_000, 99_999), self._random.randrange(10_000, 99_999)
        question = f"print({a}*{b})".encode() + EOF
        self.session.write(question)
        deadline = end.at_most(3.0)
        read = self._hear(f"{a * b}\r\n".encode(), idle=2.0, deadline=deadline)
        self._echo = read.ok and question in read.data
        if not read.ok and b"MemoryError" in read.data:
            # A full heap, or a program that ended while the collector was off: only a new heap helps.
            self.session.transcript.note("soft reset, for the VM has no memory left")
            self.session.write(EOF)
            self._hear(RAW_PROMPT, idle=1.0, deadline=end.at_most(3.0))
        # Between these an application's timer may print.
        return read.ok and all(self._hear(mark, idle=2.0, deadline=deadline).ok for mark in (EOF, EOF, b">"))

    # -- Runtime ---------------------------------------------------------------------------------

    @property
    def facts(self) -> Facts:
        if self._facts is None:
            self._facts = self.read_facts()
        return self._facts

    @recorded_call
    def read_facts(self) -> Facts:
        """Ask the VM who it is. Raises BenchFault when the answer is damaged."""

        def ask() -> Facts:
            return read_facts(lambda source: self.run(source))

        facts = self._by_either_path(ask)
        if self._paste_proven or not self.paste_window:
            return facts
        # Once, before anything is measured: a byte that is lost in a program can look like any failure.
        self._paste_proven = True
        return ask() if not self._proof_arrives(self._proof_length, paste=True) and self._paste_loses() else facts

    def round_trip(self) -> None:
        """Ctrl-A in raw mode, which is greeted again. No recorded call: how long it takes is another time each time."""
        self._take_in_hand()
        self.session.write(b"\x01")
        if not (read := self.session.read_until(RAW_PROMPT, idle=GRACE, deadline=GRACE)).ok:
            raise self._lost("its raw REPL's greeting", read)

    @recorded_call
    def verify_programs(self, on: bool) -> None:
        """Every program but those that do so themselves; see :mod:`harness.runtimes.micropython.verified`."""
        self._verifying = on

    @recorded_call
    def run(self, source: str, *, timeout: float = 30.0, interrupt_at: bytes = b"") -> RunResult:
        return self._by_either_path(lambda: self._run(source, timeout=timeout, interrupt_at=interrupt_at))

    def _by_either_path(self, attempt: Callable[[], _T]) -> _T:
        """``attempt``; once more when a program did not arrive by raw paste, and raw paste turns out to be at fault."""
        try:
            return attempt()
        except BenchFault as problem:
            doubtful = self._pasting or isinstance(problem, DamagedProgram | DamagedAnswer)
            if not doubtful or not self._paste_loses():
                raise
            return attempt()

    def _paste_loses(self) -> bool:
        """Whether the same bytes arrive by the plain raw REPL and not by raw paste: the line is the same, so the
        firmware loses them. It is used no more then, and :attr:`path_trouble` says so."""
        if not self._raw_paste or self.session.closed:
            return False
        length = self._proof_length
        plain = all(self._proof_arrives(length, paste=False) for _ in range(_PROOFS))
        pasted = sum(self._proof_arrives(length, paste=True) for _ in range(_PROOFS)) if plain else _PROOFS
        if pasted > 1:
            self._raw_paste = True
            return False
        self._raw_paste = False
        self.path_trouble = (
            f"raw paste loses what is sent: of {_PROOFS} programs of {length} bytes {pasted} arrived by it, and "
            f"all by the plain raw REPL on the same line"
        )
        self.session.transcript.note(self.path_trouble)
        return True

    @property
    def _proof_length(self) -> int:
        return min(5 * (self.paste_window or 128) + 13, _PROOF_LIMIT)

    def _proof_arrives(self, length: int, paste: bool) -> bool:
        source = "#" + "".join(self._random.choices(string.ascii_letters + string.digits, k=length))
        before, self._verifying = self._verifying, True
        try:
            self._take_in_hand()
            self._raw_paste = paste
            return not self._run(source, timeout=GRACE).stderr
        except HarnessError:
            return False
        finally:
            self._verifying = before

    def _run(
        self, source: str, *, timeout: float = 30.0, interrupt_at: bytes = b"", idle: float | None = None
    ) -> RunResult:
        """As in the interface; ``idle`` is how many seconds the program may say nothing, by default ``timeout``."""
        started = time.perf_counter()
        try:
            self._send_program(source.encode())
        except NoRoom as problem:
            return self._run_statements(source, problem.error, timeout, interrupt_at)
        stdout = b""
        if interrupt_at:
            read = self.session.read_until(interrupt_at, EOF, idle=timeout, deadline=timeout, of_program=True)
            if not read.ok:
                raise self._lost(f"{interrupt_at!r}", read)
            self._suspicion = self._suspicion or read.panic
            if read.matched == EOF:  # it ended before
                return RunResult(read.data[:-1], self._end_of_program(), time.perf_counter() - started)
            self.session.write(b"\x03")
            stdout = read.data
        stdout += self._until_eof(timeout, "output", idle=idle)
        stderr = self._end_of_program()
        return RunResult(stdout, stderr, time.perf_counter() - started)

    def _run_statements(self, source: str, error: bytes, timeout: float, interrupt_at: bytes) -> RunResult:
        """A program for which there was no room (``error``), one statement after the other, each proved."""
        started = time.perf_counter()
        parts = statements(source, has_crc32=self._style.crc32)
        if len(parts) < 2:
            return RunResult(b"", of_compiling(error), 0.0)
        output = b""
        for part in parts:
            due = b"" if interrupt_at in output else interrupt_at
            result = self._run(part, timeout=timeout, interrupt_at=due)
            output += result.stdout
            if result.stderr:
                break
        return RunResult(output, result.stderr, time.perf_counter() - started)

    @recorded_call
    def soft_reset(self) -> None:
        """End the VM and start it again. Raises FirmwareFailure when the chip resets instead."""
        self._take_in_hand()
        self.session.transcript.note("soft reset")
        self._in_hand = False
        self.session.write(EOF)
        # The raw mode outlives a soft reset; the friendly prompt comes only from a chip that started anew.
        read = self.session.read_until(RAW_PROMPT, b">>> ", idle=5.0, deadline=self._boot_timeout, of_program=True)
        self._restart_said = read.data
        silent = read.matched == b">>> " and not BANNER.search(read.data)
        if read.panic is not None and read.matched != RAW_PROMPT and not (silent and read.panic.kind == "reset"):
            raise crashed("the board crashed at a soft reset", read.panic)
        if read.matched == b">>> ":
            came = printable(read.data[-300:])
            raise FirmwareFailure(f"a soft reset became a reset of the chip; came {came!r}")
        if read.reason is Reason.CLOSED:
            raise self._lost("its raw REPL after a soft reset", read)
        if read.ok:
            self._in_hand = True
        else:  # a boot.py that does not end
            self.enter()

    def close(self) -> None:
        """Leave the board at its friendly prompt and close the port."""
        with contextlib.suppress(BenchFault):
            self.session.write(b"\x02", deadline=1.0)
        self.session.close()
