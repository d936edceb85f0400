"""The console of NodeMCU: a line REPL with echo, no raw mode, no Ctrl-C.

Protocol: NodeMCU documentation, "Uploading code", and ``app/driver/input.c``: a line ends with CR or LF and holds less
than 256 bytes, what is typed comes back, and the prompt is ``> `` or, within a statement, ``>> ``. Nothing may be sent
while a line is evaluated, so each line here waits for its own answer.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from harness.errors import BenchFault, FirmwareFailure, ProgramFailed, UsageError
from harness.link.deadline import Deadline
from harness.link.panics import crashed, printable
from harness.link.session import Read, Reason, Session
from harness.runtimes.interface import Facts, Intervention
from harness.runtimes.nodemcu.nodemcu_lines import HELPERS, LINE_LIMIT
from harness.runtimes.recorded import recorded_call
from harness.runtimes.wired import Wired

PROMPT = b"> "
_ACK = b"\x06"
#: What an answer may take to come, in seconds.
GRACE = 5.0
#: How long a board that says that it does not start is asked all the same, in seconds: a program may have said it.
_DOUBT = 4.0
#: Lines of an application that may come into the echo of one of ours.
_LINES_BETWEEN = 8
#: ``uart.setup``'s last argument; the others as they are.
_ECHO_ON = "local b,d,p,s=uart.getconfig(0) uart.setup(0,b,d,p,s,1)"


class NodeMcuRepl(Wired):
    """``reset``, ``intervene`` and ``boot_timeout`` (seconds) as for
    :class:`harness.runtimes.micropython.raw_repl.RawRepl`; ``clock`` gives the seconds in which sleeps are measured.
    """

    def __init__(
        self,
        session: Session,
        *,
        reset: Callable[[], None] | None = None,
        intervene: Callable[[Intervention], None] | None = None,
        boot_timeout: float = 15.0,
        nonces: random.Random | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__(session, reset, intervene)
        self._boot_timeout = boot_timeout
        self._random = nonces or random.Random()
        self._clock = clock
        self._helped = False  # the helpers are there
        self._facts: Facts | None = None
        self._base64 = False
        self._echoes = True

    # -- getting hold of it ----------------------------------------------------------------------

    @recorded_call
    def enter(self, *, after_reset: bool = False) -> None:
        """Take the board to its prompt, and prove that it listens.

        Works through what the ROM says at another baud rate, the banner, and what ``init.lua`` prints; a statement that
        somebody left unfinished is ended. Raises BenchFault with what came when it does not answer.
        """
        with self.session.expecting_reset():
            self._enter(after_reset)

    def _enter(self, after_reset: bool) -> None:
        end = Deadline(self._boot_timeout)
        self._begin_to_listen(after_reset)
        self._helped = False
        idle, doubt = 0.2, None
        if after_reset:
            self._hear(b"\n" + PROMPT, idle=3.0, deadline=end.at_most(5.0))
        while not end.passed and not (doubt is not None and doubt.passed):
            if self._heard:
                self._say_while_starting(b"\r")
                noise = self._hear(idle=idle / 4, deadline=end.at_most(1.0)).data
                if noise.endswith(b">> "):
                    self._say_while_starting(b")=\r")  # no statement goes on with that
                    self._hear(idle=idle / 4, deadline=end.at_most(1.0))
            read = self._ask(idle)
            self._heard = self._heard or b"-"
            if read.ok:
                self._in_hand = self._answered = True
                return
            if self._trouble_heard():
                doubt = doubt or end.at_most(_DOUBT)
            idle = min(idle * 1.7, 2.0)
        if self._heard == b"-":
            self._heard = b""
        raise self._no_answer(
            f"no Lua prompt within {self._boot_timeout:g} s",
            "is there NodeMCU on the board, is console.baud right, does init.lua never end?",
        )

    def _ask(self, idle: float) -> Read:
        """A question whose answer differs from its echo. A match means that the prompt has come after it.

        An application may print between them, and may have turned the echo off: then it is turned on again, for it
        tells whether a line has arrived.
        """
        a, b = self._random.randrange(1000, 9999), self._random.randrange(1000, 9999)
        question = f"print({a}*{b})".encode()
        self._say_while_starting(question + b"\r")
        read = self._hear(f"{a * b}\r\n".encode(), f"{a * b}\n".encode(), idle=idle, deadline=3.0)
        if not read.ok:
            return read
        prompt = self._hear(PROMPT, idle=idle, deadline=3.0)
        self._echoes = b"print(" in read.data
        if prompt.ok and not self._echoes:
            self._say_while_starting(_ECHO_ON.encode() + b"\r")
            prompt = self._hear(PROMPT, idle=max(idle, 0.5), deadline=3.0)
            self._echoes = prompt.ok
        return prompt

    def _take_in_hand(self) -> None:
        if not self._in_hand:
            self.session.drain(deadline=1.0)
            self.enter()
        if not self._helped:
            for line in HELPERS:
                self._say(line)
            self._helped = True

    # -- lines -----------------------------------------------------------------------------------

    def _say(self, line: str, *, timeout: float = GRACE) -> bytes:
        """Send one line and wait for the next prompt; returns what came between echo and prompt.

        Only for lines whose output holds no prompt. Raises FirmwareFailure when the line is an error.
        """
        data = line.encode("ascii")
        if len(data) >= LINE_LIMIT:
            raise UsageError(f"a line of {len(data)} bytes does not fit the board's buffer of {LINE_LIMIT + 1}")
        self._in_hand = False
        self.session.write(data + b"\r")
        # What comes back here is our own: a file may well hold the text of a panic.
        echo = self.session.read_until(b"\n", idle=GRACE, deadline=GRACE, watch_panics=False)
        heard = echo.data
        for _ in range(_LINES_BETWEEN):
            if not echo.ok or _echoes(data, heard):
                break
            # What an application prints stands before the echo, or in the middle of it, and ends with its line.
            echo = self.session.read_until(b"\n", idle=0.3, deadline=GRACE, watch_panics=False)
            heard += echo.data
        if not echo.ok and not heard:
            raise self._lost("the echo of a line", echo)
        if not _echoes(data, heard):
            came = printable(heard[-LINE_LIMIT:])
            raise BenchFault(f"a line came back damaged: sent {line[:80]!r}, came {came!r}", hint="check the cable")
        read = self.session.read_until(b"\n" + PROMPT, b"\n>> ", PROMPT, idle=timeout, deadline=timeout)
        if not read.ok:
            raise self._lost("the prompt after a line", read)
        self._in_hand = True
        if read.matched == b"\n>> ":
            self._in_hand = False
            raise BenchFault(f"the board took a line for an unfinished one: {line[:80]!r}", hint="check the cable")
        if b"Lua error:" in read.data:
            raise FirmwareFailure(f"the board says: {printable(read.data[-300:])}")
        return read.data

    def _answer(self, line: str, *, timeout: float = GRACE) -> str:
        """The text that a helper answers with."""
        data = self._say(line, timeout=timeout)
        _, mark, rest = data.partition(_ACK)
        text, dot, _ = rest.partition(b".")
        if not mark or not dot:
            raise BenchFault(f"expected an answer to {line[:40]!r}, came {printable(data[-200:]) or 'nothing'!r}")
        return text.decode("ascii", "replace")

    def _lost(self, what: str, read: Read) -> BenchFault | FirmwareFailure:
        self._in_hand = False
        if read.panic is not None:
            return crashed("the board crashed", read.panic)
        if read.reason is Reason.FLOOD:
            return FirmwareFailure(f"the board floods the line; waited for {what}")
        if b"not enough memory" in read.data:
            return ProgramFailed(f"the board has no memory left; waited for {what}")
        return BenchFault(f"the board did not send {what}: {read}", hint="check the cable, the baud rate and the power")

    def close(self) -> None:
        self.session.close()


def _echoes(data: bytes, heard: bytes) -> bool:
    """Whether ``heard`` ends with the echo of ``data``, whole lines of something else before or within it."""
    *lines, last = (line.rstrip(b"\r") for line in heard.rstrip(b"\r\n").split(b"\n"))
    if last.endswith(data):
        return True
    reached = {0}  # how much of the echo may have come before each break
    for line in lines:
        reached |= {
            at + size for at in reached for size in range(1, len(line) + 1) if data[at:].startswith(line[:size])
        }
    return any(last == data[at:] for at in reached if at < len(data))
