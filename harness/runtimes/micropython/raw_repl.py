"""The raw REPL of a MicroPython-family board over a serial session: getting hold of it, programs, restarts.

Protocol: MicroPython reference manual, "The MicroPython Interactive Interpreter Mode (aka REPL)", sections
"Raw mode" and "Raw-paste mode". The board stays in raw mode between programs; nothing here sleeps.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import re
import string
import time
from collections.abc import Callable
from typing import TypeVar

from harness.errors import BenchFault, FirmwareFailure, HarnessError, ProgramFailed, UsageError
from harness.link.deadline import Deadline
from harness.link.panics import BANNER, Panic, crashed, find_greeting, find_panic, printable
from harness.link.session import Read, Reason, Session
from harness.runtimes.ask_names import DamagedAnswer, read_facts
from harness.runtimes.interface import Facts, Intervention, RunResult
from harness.runtimes.micropython.verified import (
    EXECUTE,
    DamagedProgram,
    NoRoom,
    Style,
    of_compiling,
    of_execution,
    sum_collected,
    wrapped,
)
from harness.runtimes.pieces import statements
from harness.runtimes.program import PROVES_ITSELF
from harness.runtimes.recorded import recorded_call
from harness.runtimes.wired import Wired

_RAW_BANNER = b"raw REPL; CTRL-B to exit\r\n"
RAW_PROMPT = _RAW_BANNER + b">"
EOF = b"\x04"
_CONTROLS = re.compile(rb"[\x01-\x05]")
#: Without flow control: bytes that go out before the board is given time (its UART buffer is 256 bytes).
_PLAIN_CHUNK = 256
_PLAIN_PAUSE = 0.01
GRACE = 3.0
#: How long a board may take to sum up and compile a program that is there, in seconds.
_COMPILING = 20.0
#: The same in the middle of a program on its way: a board that answered a moment ago may share a busy host (QEMU).
FLOW_GRACE = 10.0
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
#: Of what an application prints while a program is on its way, in bytes; more is a flood.
_CHATTER_LIMIT = 64 * 1024


class RawRepl(Wired):
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
        super().__init__(session, reset, intervene, native_usb)
        self._boot_timeout = boot_timeout
        self._buffer = buffer
        self._random = nonces or random.Random()
        self._raw_paste = True
        #: How many bytes of a program the board has last said it takes at once; 0: it has no raw paste.
        self.paste_window = 0
        #: What is wrong with the VM's raw paste; the plain raw REPL is used since it was found out.
        self.path_trouble = ""
        self._paste_proven = False
        self._window = 0  # what it takes at once, of the VM that is in hand; 0: not known
        self._pasting = False  # also after one that did not come to its end
        self._echo = False
        self._verifying = False
        self._suspicion: Panic | None = None  # words of a crash in what the program that runs has printed
        self._style = Style()
        self._style_holds = False  # a program has been proved in this style
        # Of the program that runs: whether it travelled as text, and the error that it was refused with.
        self._as_text = False
        self._refusal = b""
        self._facts: Facts | None = None

    # -- getting hold of it ----------------------------------------------------------------------

    @recorded_call
    def enter(self, *, after_reset: bool = False) -> None:
        """Take the board to raw mode and prove that it listens.

        Works on a board that prints garbage first (a ROM at another baud rate), whose ``main.py`` never ends, or
        that sits in any REPL mode. An application that sleeps or restarts at once is met in the moment before. Raises
        BenchFault with what came when it does not answer, ApplicationInTheWay when that is a program's doing.
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

    def _listen_to_the_start(self, end: Deadline) -> None:
        """Until a prompt, silence, or what tells that the start is over and a program of the board's own goes on: it
        prints more than a start does, or has restarted the VM once more than we can have."""
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

    # -- programs --------------------------------------------------------------------------------

    def _take_in_hand(self) -> None:
        if not self._in_hand:
            self.session.drain(deadline=1.0)  # what a program or a crash left on the line says nothing about now
            self.enter()

    def _send_program(self, source: bytes) -> None:
        """Start a program; the board is in hand again at the end of :meth:`_end_of_program`."""
        if _CONTROLS.search(source):
            raise UsageError(
                "a program holds a control character that the raw REPL acts on", hint="write it as '\\x04'"
            )
        self._as_text, self._refusal = False, b""
        # On a board with so little input the stack is as small: around a short statement there is no room for an exec.
        short = bool(self._buffer) and self._fits(source)
        if self._verifying and not short and not source.startswith(PROVES_ITSELF.encode()):
            self._send_proved(source)
        else:
            self._transmit(source)

    def _transmit(self, source: bytes) -> None:
        self._take_in_hand()
        self._in_hand, self._pasting, self._suspicion = False, False, None
        if self._pasted(source):
            return
        if not self._fits(source):
            self._send_in_pieces(source, b"exec(_hx.pop())")
        else:
            self._send_plain(source)

    def _send_proved(self, source: bytes) -> None:
        """As text that the board sums up and compiles, and then what executes it.

        Raises DamagedProgram when another text arrived, NoRoom when there is no memory for both.
        """
        while True:
            self._take_in_hand()
            self._in_hand, self._pasting, self._suspicion = False, False, None
            text, error = wrapped(source, self._style), b""
            along = self._pasted(text, EXECUTE + EOF)
            if not along and not self._fits(text):
                error = self._send_in_pieces(source, *sum_collected(source, self._style))
            elif not along:
                self._send_plain(text)
            error = error or self._answer_to_text()
            if not error:
                break
            self._executes_nothing(along)
            other = None if self._style_holds else self._style.without(error)
            if other is None:
                if b"MemoryError" in error:
                    raise NoRoom(error)
                self._refusal, along = of_compiling(error), False
                break
            self.session.transcript.note(f"programs prove that they arrive so: {other}")
            self._style = other
        self._style_holds = self._as_text = True
        self._begin_to_execute(along)

    def _begin_to_execute(self, along: bool) -> None:
        """``along``: :data:`EXECUTE` is under way."""
        self._in_hand = False
        if along:
            self._until_ok()
        else:
            self._send_plain(EXECUTE)

    def _executes_nothing(self, along: bool) -> None:
        """The text was refused: :data:`EXECUTE` takes its name away."""
        self._begin_to_execute(along)
        self._until_prompt("the end of a program that was refused")

    def _answer_to_text(self) -> bytes:
        """The error of a program that came as text, and the prompt. What an application prints is no matter here."""
        return self._until_prompt("the end of a program's text")

    def _until_prompt(self, what: str) -> bytes:
        """The error of a program that may take its time but prints nothing."""
        for _ in range(2):
            read = self.session.read_until(EOF, idle=_COMPILING, deadline=_COMPILING, of_program=True)
            if not read.ok:
                raise self._lost(what, read)
        prompt = self.session.read_until(b">", idle=GRACE, deadline=GRACE, of_program=True)
        if not prompt.ok:
            raise self._lost(f"the prompt after {what}", prompt)
        self._in_hand = True
        return read.data[:-1]

    # -- raw paste -------------------------------------------------------------------------------

    def _pasted(self, source: bytes, then: bytes = b"") -> bool:
        """Send a program by raw paste, and ``then``, of which the board takes no notice before it has the program.

        False when the board has no raw paste, and nothing was sent. The beginning goes out without waiting for an
        answer where this VM has taken a program before, so that a short program takes one round trip. The board's input
        holds two windows (``MICROPY_REPL_STDIN_BUFFER_MAX`` in shared/runtime/pyexec.c); half of one is left free.
        """
        if not self._raw_paste or self._echo:
            return False
        program = source + EOF
        at_once = (program + then)[: self._window + self._window // 2]
        self.session.write(b"\x05A\x01" + at_once)
        # Firmware from before raw paste takes Ctrl-A as "start over" and greets again.
        read = self.session.read_until(b"R\x01", b"R\x00", b"to exit\r\n>", idle=GRACE, deadline=GRACE, of_program=True)
        if not read.ok or (at_once and read.matched != b"R\x01"):
            raise self._lost("an answer to raw paste", read)
        if read.matched != b"R\x01":  # understood and not supported, or not understood; the prompt is back
            self._raw_paste = False
            return False
        self._pasting = True
        self._paste(program, then, len(at_once))
        self._pasting = False
        return True

    def _paste(self, program: bytes, then: bytes, at: int) -> None:
        """Both from ``at`` on, never more at once than the board has said that it takes."""
        header = self.session.read_exactly(2, deadline=GRACE)
        if not header.ok or not 0 < (window := int.from_bytes(header.data, "little")) <= 0x4000:
            raise self._lost("the raw paste window", header)
        self.paste_window = self._window = window
        stream, credit = program + then, window - at
        chatter, restarted = b"", None
        while at < len(stream):
            if credit > 0 and not self.session.waiting():
                part = stream[at : at + credit]
                self.session.write(part)
                at += len(part)
                credit -= len(part)
                continue
            flow = self.session.read_exactly(1, deadline=FLOW_GRACE)
            if flow.data == b"\x01":
                credit += window
            elif flow.data == EOF:  # it has it all, or has had enough: a syntax error, or Ctrl-C
                self.session.write(EOF + then if at < len(program) else stream[at:])
                return
            elif flow.ok and len(chatter) < _CHATTER_LIMIT and restarted is None:
                chatter += flow.data  # what an application's timer prints meanwhile
                restarted = find_greeting(chatter)
            else:
                came = Read(chatter + flow.data, flow.reason, panic=restarted)
                raise self._lost("flow control during raw paste", came)
        read = self.session.read_until(EOF, idle=GRACE, deadline=GRACE, of_program=True)
        if not read.ok:
            raise self._lost("the end of raw paste", read)

    def _fits(self, source: bytes) -> bool:
        """Whether the board's input holds a program and the Ctrl-D after it, also when the VM is late to look.

        A ring buffer of n bytes holds n - 1: one place stays free, or full could not be told from empty. (Tried on
        the micro:bit's firmware in QEMU: while it sleeps, a program of 62 bytes arrives, one of 63 loses its Ctrl-D.)
        """
        return not self._buffer or len(source) + len(EOF) < self._buffer

    def _send_plain(self, source: bytes) -> None:
        for at in range(0, len(source), _PLAIN_CHUNK):
            self._say(source[at : at + _PLAIN_CHUNK])
            if not self._echo:
                time.sleep(_PLAIN_PAUSE)  # this mode has no flow control: the board's buffer must empty
        self._say(EOF)
        self._until_ok()

    def _until_ok(self) -> None:
        read = self.session.read_until(b"OK", idle=GRACE, deadline=GRACE, of_program=True)
        if not read.ok:
            raise self._lost("'OK' for a program", read)

    def _send_in_pieces(self, source: bytes, *then: bytes) -> bytes:
        """Collect a text on the board as ``_hx[0]``, each piece answered before the next one goes out, and send
        ``then``, which are short. What the last one says is still to be read; the error of one before it is given."""
        # Collected before each program, so that what stays lies close together and a large piece finds its room.
        self._collect(b"import gc;gc.collect();_hx=[b'']")
        at = 0
        while at < len(source):
            length = max(1, (self._buffer or 0) - 16)
            while not self._fits(piece := f"_hx[0]+={source[at : at + length]!r}".encode()) and length > 1:
                length -= 1
            self._collect(piece)
            at += length
        for short in then[:-1]:
            if error := self._answered_at_once(short):
                return error
        self._send_plain(then[-1])
        return b""

    def _collect(self, piece: bytes) -> None:
        if error := self._answered_at_once(piece):
            raise ProgramFailed(f"the board cannot take in the program: {printable(error[-200:])}")

    def _answered_at_once(self, piece: bytes) -> bytes:
        """Run a short program that prints nothing; its error."""
        self._send_plain(piece)
        error = self._until_eof(GRACE, "output") + self._end_of_program()
        self._in_hand = False
        return error

    def _say(self, data: bytes) -> None:
        """Send ``data``; on a line that echoes, wait for the echo and drop it."""
        self.session.write(data)
        if self._echo:
            read = self.session.read_exactly(len(data), deadline=GRACE)
            if read.data != data:
                raise self._lost("the echo of what was sent", read)

    def _until_eof(self, timeout: float, what: str, *, idle: float | None = None) -> bytes:
        read = self.session.read_until(EOF, idle=idle or timeout, deadline=timeout, of_program=True)
        if read.ok:
            self._suspicion = self._suspicion or read.panic
            return read.data[:-1]
        if read.reason in (Reason.IDLE, Reason.DEADLINE) and what == "output":
            self._interrupt()
            if read.panic is not None and not self._in_hand:
                raise crashed("the board crashed", read.panic)
            tail = printable(read.data[-300:])
            limit = f"{idle:g} s of silence" if idle else f"{timeout:g} s"
            raise FirmwareFailure(f"the program did not end within {limit}; last output: {tail!r}")
        raise self._lost(what, read)

    def _end_of_program(self) -> bytes:
        """The error text of a program whose output has been read, and the prompt."""
        error = self._until_eof(GRACE, "error text")
        prompt = self.session.read_until(b">", idle=GRACE, deadline=GRACE, of_program=True)
        if not prompt.ok:
            raise self._lost("the prompt after a program", prompt)
        self._in_hand = True
        # Words of a crash: the VM of before is still in raw mode, and one that has started anew is not.
        if self._suspicion is not None and not self._shake_hands(Deadline(GRACE)):
            raise self._lost("an answer after a program", Read(b"", Reason.PANIC, panic=self._suspicion))
        if self._refusal:
            return self._refusal
        return of_execution(error) if self._as_text else error

    def _interrupt(self) -> None:
        """Stop the running program. When that fails, the next one starts by taking the board in hand again."""
        self.session.write(b"\x03\x03")
        ended = self.session.read_until(b"\x04>", idle=GRACE, deadline=GRACE, of_program=True)
        self._in_hand = ended.ok

    def _lost(self, what: str, read: Read) -> BenchFault | FirmwareFailure:
        self._in_hand = False
        panic = read.panic
        if panic is None and read.data and read.reason is not Reason.CLOSED:
            # Something else came: it may be the beginning of a crash text.
            more = self.session.read_until(idle=0.2, deadline=1.0)
            read = Read((read.data + more.data)[-4096:], read.reason)
            panic = more.panic or find_panic(read.data) or find_greeting(read.data)
        if panic is not None:
            return crashed("the board crashed", panic)
        if read.reason is Reason.FLOOD:
            return FirmwareFailure(f"the board floods the line; waited for {what}")
        return BenchFault(f"the board did not send {what}: {read}", hint="check the cable, the baud rate and the power")
