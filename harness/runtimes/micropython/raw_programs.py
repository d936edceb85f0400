"""Programs in the raw REPL: how a text gets to the VM, by raw paste, plainly or in pieces, and what comes of it.

Protocol: MicroPython reference manual, "The MicroPython Interactive Interpreter Mode (aka REPL)", sections
"Raw mode" and "Raw-paste mode". The board stays in raw mode between programs.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from harness.errors import BenchFault, FirmwareFailure, ProgramFailed, UsageError
from harness.link.deadline import Deadline
from harness.link.panics import Panic, crashed, find_greeting, find_panic, printable
from harness.link.session import Read, Reason, Session
from harness.runtimes.interface import Intervention
from harness.runtimes.micropython.verified import (
    EXECUTE,
    NoRoom,
    Style,
    of_compiling,
    of_execution,
    sum_collected,
    wrapped,
)
from harness.runtimes.program import PROVES_ITSELF
from harness.runtimes.wired import Wired

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
#: Of what an application prints while a program is on its way, in bytes; more is a flood.
_CHATTER_LIMIT = 64 * 1024


class RawPrograms(Wired):
    """What :class:`harness.runtimes.micropython.raw_repl.RawRepl` sends programs with; it has the same parameters."""

    def __init__(
        self,
        session: Session,
        reset: Callable[[], None] | None,
        intervene: Callable[[Intervention], None] | None,
        native_usb: bool,
        buffer: int | None,
    ) -> None:
        super().__init__(session, reset, intervene, native_usb)
        self._buffer = buffer
        self._raw_paste = True
        #: How many bytes of a program the board has last said it takes at once; 0: it has no raw paste.
        self.paste_window = 0
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

    def _shake_hands(self, end: Deadline) -> bool:
        """Whether the board answers a question whose answer is no echo."""
        raise NotImplementedError

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
