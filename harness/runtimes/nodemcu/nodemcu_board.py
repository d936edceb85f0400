"""A NodeMCU board over a serial session: a line REPL with echo, no raw mode, no Ctrl-C.

Protocol: NodeMCU documentation, "Uploading code", and ``app/driver/input.c``: a line ends with CR or LF and holds less
than 256 bytes, what is typed comes back, and the prompt is ``> `` or, within a statement, ``>> ``. Nothing may be sent
while a line is evaluated, so each line here waits for its own answer. A program that hangs can only be reset.
"""

from __future__ import annotations

import binascii
import random
import re
import time
import zlib
from collections.abc import Callable

from harness.errors import BenchFault, FirmwareFailure, ProgramFailed, Refused, UsageError
from harness.link.deadline import Deadline
from harness.link.panics import crashed, printable
from harness.link.session import Read, Reason, Session
from harness.runtimes.interface import LAST_RECORD, Facts, Intervention, Restart, RunResult
from harness.runtimes.nodemcu.nodemcu_lines import (
    BEGIN,
    END,
    FACTS,
    HELPERS,
    LINE_LIMIT,
    OVER,
    PROGRAM,
    SWEEP,
    base64_blocks,
    text_blocks,
)  # fmt: skip
from harness.runtimes.recorded import recorded_call
from harness.runtimes.traits import Means, ProbeAnswer
from harness.runtimes.wired import Wired

_PROMPT = b"> "
_ACK = b"\x06"
_BANNER = b"\nNodeMCU "
_GRACE = 5.0
#: How long a board that says that it does not start is asked all the same, in seconds: a program may have said it.
_DOUBT = 4.0
#: Lines of an application that may come into the echo of one of ours.
_LINES_BETWEEN = 8
#: ``uart.setup``'s last argument; the others as they are.
_ECHO_ON = "local b,d,p,s=uart.getconfig(0) uart.setup(0,b,d,p,s,1)"
_FRAME = re.compile(rb"\x02([\x20-\x7e]{1,400})\x03")
_NAME_LIMIT = 31
#: What writing the largest LFS region may take, in seconds, with the wait for the watchdog.
_RELOAD = 30.0
#: Its console answers each line. The sum makes the answer differ from its echo.
_WHO = b'print("vm".."-lua", node.chipid(), _VERSION)\r\n'
_WHO_ANSWER = re.compile(rb"vm-lua\s+(\w{1,20})\s+(Lua [\w. ]{1,20})")


class NodeMcuBoard(Wired):
    """Implements :class:`harness.runtimes.interface.BoardRuntime`.

    ``reset``, ``intervene`` and ``boot_timeout`` (seconds) as for
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
            self._hear(b"\n" + _PROMPT, idle=3.0, deadline=end.at_most(5.0))
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
        prompt = self._hear(_PROMPT, idle=idle, deadline=3.0)
        self._echoes = b"print(" in read.data
        if prompt.ok and not self._echoes:
            self._say_while_starting(_ECHO_ON.encode() + b"\r")
            prompt = self._hear(_PROMPT, idle=max(idle, 0.5), deadline=3.0)
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

    def _say(self, line: str, *, timeout: float = _GRACE) -> bytes:
        """Send one line and wait for the next prompt; returns what came between echo and prompt.

        Only for lines whose output holds no prompt. Raises FirmwareFailure when the line is an error.
        """
        data = line.encode("ascii")
        if len(data) >= LINE_LIMIT:
            raise UsageError(f"a line of {len(data)} bytes does not fit the board's buffer of {LINE_LIMIT + 1}")
        self._in_hand = False
        self.session.write(data + b"\r")
        # What comes back here is our own: a file may well hold the text of a panic.
        echo = self.session.read_until(b"\n", idle=_GRACE, deadline=_GRACE, watch_panics=False)
        heard = echo.data
        for _ in range(_LINES_BETWEEN):
            if not echo.ok or _echoes(data, heard):
                break
            # What an application prints stands before the echo, or in the middle of it, and ends with its line.
            echo = self.session.read_until(b"\n", idle=0.3, deadline=_GRACE, watch_panics=False)
            heard += echo.data
        if not echo.ok and not heard:
            raise self._lost("the echo of a line", echo)
        if not _echoes(data, heard):
            came = printable(heard[-LINE_LIMIT:])
            raise BenchFault(f"a line came back damaged: sent {line[:80]!r}, came {came!r}", hint="check the cable")
        read = self.session.read_until(b"\n" + _PROMPT, b"\n>> ", _PROMPT, idle=timeout, deadline=timeout)
        if not read.ok:
            raise self._lost("the prompt after a line", read)
        self._in_hand = True
        if read.matched == b"\n>> ":
            self._in_hand = False
            raise BenchFault(f"the board took a line for an unfinished one: {line[:80]!r}", hint="check the cable")
        if b"Lua error:" in read.data:
            raise FirmwareFailure(f"the board says: {printable(read.data[-300:])}")
        return read.data

    def _answer(self, line: str, *, timeout: float = _GRACE) -> str:
        """The text that a helper answers with."""
        data = self._say(line, timeout=timeout)
        _, mark, rest = data.partition(_ACK)
        text, dot, _ = rest.partition(b".")
        if not mark or not dot:
            raise BenchFault(f"expected an answer to {line[:40]!r}, came {printable(data[-200:]) or 'nothing'!r}")
        return text.decode("ascii", "replace")

    # -- Runtime ---------------------------------------------------------------------------------

    @property
    def facts(self) -> Facts:
        if self._facts is None:
            self._facts = self.read_facts()
        return self._facts

    @recorded_call
    def read_facts(self) -> Facts:
        """Ask the VM who it is. Raises BenchFault when the answer makes no sense."""
        result = self.run(FACTS)
        frame = _FRAME.search(result.stdout)
        fields = frame.group(1).decode("ascii").split("|") if frame else []
        try:
            version, language, numbers, heap, lfs, encoder, modules, branch = fields
            self._base64 = encoder == "1"
            return Facts(
                name="nodemcu",
                version=f"NodeMCU {version}",
                machine=f"NodeMCU {branch}",
                word_size=4,
                object_repr=None,
                heap_total=int(heap),
                mpy=0,
                extra={
                    "lua": language.removeprefix("Lua "),
                    "numbers": numbers,
                    "lfs": str(int(lfs)),
                    "modules": modules,
                },
            )
        except ValueError:
            came = printable((result.stderr or result.stdout)[-200:])
            raise BenchFault(f"the board did not say what it is; came {came!r}", hint="is this NodeMCU?") from None

    def round_trip(self) -> None:
        """An empty line, which is answered with a prompt."""
        self._take_in_hand()
        self.session.write(b"\r")
        if not (read := self.session.read_until(_PROMPT, idle=_GRACE, deadline=_GRACE)).ok:
            raise self._lost("its prompt", read)

    @recorded_call
    def verify_programs(self, on: bool) -> None:
        """Nothing to do: each program is a file, which the board sums up before it runs."""

    @recorded_call
    def run(self, source: str, *, timeout: float = 30.0, interrupt_at: bytes = b"") -> RunResult:
        """Execute a program from a file; see :class:`harness.runtimes.interface.Runtime`.

        A program that goes on in callbacks sets ``_hxwait`` and calls ``_hxe()`` in the end. Raises UsageError for
        ``interrupt_at``: there is no Ctrl-C. After a time-out the chip is reset, where the wiring can.
        """
        if interrupt_at:
            raise UsageError("NodeMCU has no Ctrl-C", hint="let the program end by a timer")
        started = time.perf_counter()
        self._start(source)
        read = self.session.read_until(END, _BANNER, idle=timeout, deadline=timeout, of_program=True)
        if read.matched == _BANNER:  # a program can print that, too, and goes on then
            more = self.session.read_until(END, b"\n" + _PROMPT, idle=timeout, deadline=timeout, of_program=True)
            went_on = more.matched == END
            read = Read(read.data + more.data, read.reason, END if went_on else _BANNER, read.panic or more.panic)
        stdout = self._checked_output(read, timeout)
        error = self._error_text()
        self._settle()
        if read.panic is not None and self._answer('print("\\6"..tostring(_hxr~=nil)..".")') != "true":
            raise self._lost("the end of a program in the VM that it began in", read)
        return RunResult(stdout, error, time.perf_counter() - started)

    def _start(self, source: str) -> None:
        self.put(PROGRAM, source.encode())
        self._in_hand = False
        self.session.write(b"_hxr()\r")
        read = self.session.read_until(BEGIN, idle=_GRACE, deadline=_GRACE)
        if not read.ok:
            raise self._lost("the start of a program", read)
        self.session.read_until(b"\n", idle=_GRACE, deadline=_GRACE)

    def _checked_output(self, read: Read, timeout: float) -> bytes:
        if read.matched == END:
            return read.data[: -len(END)]
        if read.matched == _BANNER:
            self._helped = False
            if read.panic is not None:
                raise crashed("the board crashed", read.panic)
            before = read.data.partition(_BANNER)[0][-300:]
            raise FirmwareFailure(f"the board restarted by itself; before that came {printable(before)!r}")
        if read.reason in (Reason.IDLE, Reason.DEADLINE):
            tail = printable(read.data[-300:])
            if read.panic is None and self._has_ended():
                raise BenchFault(
                    f"the program has ended, but the end of what it printed got lost; last output: {tail!r}",
                    hint="check the cable and the baud rate",
                )
            self._rescue()
            if read.panic is not None:
                raise crashed("the board crashed", read.panic)
            raise FirmwareFailure(f"the program did not end within {timeout:g} s; last output: {tail!r}")
        raise self._lost("output", read)

    def _error_text(self) -> bytes:
        read = self.session.read_until(OVER, idle=_GRACE, deadline=_GRACE)
        if not read.ok:
            raise self._lost("the error text of a program", read)
        size, _, text = read.data[: -len(OVER)].partition(b":")
        if size != str(len(text.replace(b"\r", b""))).encode():
            raise BenchFault(
                f"the end of a program arrived damaged: {printable(read.data[-200:])!r}",
                hint="check the cable and the baud rate",
            )
        return text

    def _has_ended(self) -> bool:
        """Whether the board waits at its prompt, and no program goes on in callbacks."""
        try:
            if not any(self._ask(2.0).ok for _ in range(2)):
                return False
            self._in_hand = True
            return self._answer('print("\\6"..tostring(_hxwait)..".")') == "nil"
        except (BenchFault, FirmwareFailure):
            self._in_hand = False
            return False

    def _settle(self) -> None:
        """At the prompt again, whether it has come already or, after callbacks, will not by itself."""
        read = self._ask(_GRACE)
        if not read.ok:
            raise self._lost("the prompt after a program", read)
        self._in_hand = True

    def _rescue(self) -> None:
        self._in_hand = False
        if self._reset is not None:
            self._pulse_reset()
            self.enter(after_reset=True)

    @recorded_call
    def run_to_reset(self, source: str, *, within: float = 30.0, intervention: Intervention | None = None) -> Restart:
        with self.session.expecting_reset():
            self._start(source)
            output = b""
            for wanted in (LAST_RECORD, b"\x03\r\n"):
                read = self.session.read_until(wanted, END, idle=30.0, deadline=30.0, of_program=True)
                output += read.data
                if read.matched == END:
                    self._not_reset()
                if not read.ok:
                    raise self._lost("the program's last record", read)
            ended = self._clock()
            first = self._first_of_start(intervention, within)
            while first.data in (b"\r", b"\n"):  # of the record's own line
                first = self.session.read_exactly(1, deadline=within)
            silent = self._clock() - ended
            begun = first.data
            if begun == END[:1]:
                begun += self.session.read_exactly(len(END) - 1, deadline=1.0).data
                if begun == END:
                    self._not_reset()
            if first.reason is Reason.DEADLINE:
                raise FirmwareFailure(f"the chip did not start again within {within:g} s")
            self.session.transcript.note(f"started again after {silent:.3f} s")
            rest = self.session.read_until(b"\n" + _PROMPT, idle=3.0, deadline=self._boot_timeout, watch_panics=False)
            self._check_crash(rest.data)
        self.enter()
        return Restart(output, silent, begun + rest.data)

    def _not_reset(self) -> None:
        error = self._error_text()
        self._settle()
        raise FirmwareFailure(f"the program did not reset the chip: {printable(error[-300:]) or 'it ended'}")

    @recorded_call
    def soft_reset(self) -> None:
        """``node.restart()``: on this firmware the chip goes along, and ``init.lua`` runs."""
        self.restart_by("node.restart()")

    @recorded_call
    def restart_by(self, source: str) -> None:
        with self.session.expecting_reset():
            self._start(source)
            self.session.transcript.note("restart")
            read = self.session.read_until(_BANNER, END, idle=self._boot_timeout, deadline=self._boot_timeout)
            if read.matched == END:
                self._not_reset()
            if not read.ok:
                raise self._lost("a restart", read)
            self._enter(after_reset=True)

    @recorded_call
    def reload_lfs(self, path: str) -> str:
        """``node.LFS.reload``: "" when the image was taken and the chip has restarted, else the firmware's words.

        A reload that succeeds ends by the watchdog, seconds later, so the boot reason looks like a crash.
        """
        name = _name(path)
        with self.session.expecting_reset():
            reload = "(node.LFS and node.LFS.reload or node.flashreload)"
            self._start(f'collectgarbage() print("\\2"..tostring({reload}("{name}")).."\\3")')
            limit = self._boot_timeout + _RELOAD
            read = self.session.read_until(END, _BANNER, idle=limit, deadline=limit)
            if read.matched == _BANNER:
                self._enter(after_reset=True)
                return ""
        if not read.ok:
            raise self._lost("the end of an LFS reload", read)
        error = self._error_text()
        self._settle()
        said = _FRAME.search(read.data)
        return said.group(1).decode("ascii") if said else printable(error)

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

    # -- files -----------------------------------------------------------------------------------

    @recorded_call
    def put(self, path: str, data: bytes) -> None:
        """Write a file in acknowledged lines; then the board reads it back and says length and Adler-32."""
        name = _name(path)
        self._take_in_hand()
        blocks = list(text_blocks(data))
        if self._base64 and len(data) > 64:
            packed = list(base64_blocks(data))
            blocks = packed if sum(map(len, packed)) < sum(map(len, blocks)) else blocks
        # One that an interrupted upload left open would come over this one when it is closed.
        self._say("if _hxf then pcall(_hxf.close,_hxf) end")
        if self._answer(f'_hxf=file.open("{name}","w") print("\\6"..(_hxf and "open" or "shut")..".")') != "open":
            raise Refused(f"{path} cannot be written", hint="is there space on the board's filesystem?")
        for index, block in enumerate(blocks):
            if self._answer(block % index) != str(index):
                raise BenchFault(f"{path}: block {index} was not acknowledged", hint="check the cable")
        self._say("_hxf:close() _hxf=nil")
        came = self._sum(name, len(data))
        if came != (expected := _summed(data)):
            raise BenchFault(
                f"{path}: expected {expected} (length and Adler-32) after writing, the board says {came}",
                hint="is there space on the board's filesystem? Check the cable",
            )

    def _sum(self, name: str, size: int) -> str:
        return self._answer(f'print(_hxa(file.open("{name}")))', timeout=_GRACE + size / 2000)

    @recorded_call
    def get(self, path: str) -> bytes:
        name = _name(path)
        result = self.run(
            f'local f=file.open("{name}") if not f then error("no such file",0) end\n'
            "local s=f:read(32) while s do print((s:gsub('.',function(c) return string.format('%02x',c:byte()) end)))"
            " s=f:read(32) end f:close()",
            timeout=120.0,
        )
        if result.stderr:
            raise Refused(f"{path} cannot be read: {printable(result.stderr[-200:])}")
        try:
            data = binascii.unhexlify(b"".join(result.stdout.split()))
        except binascii.Error:
            raise BenchFault(f"{path}: the board sent something that is not hexadecimal") from None
        if self._sum(name, len(data)) != _summed(data):
            raise BenchFault(f"{path}: arrived damaged", hint="check the cable and the baud rate")
        return data

    @recorded_call
    def remove(self, path: str) -> None:
        name = _name(path)
        self._take_in_hand()
        if self._answer(f'file.remove("{name}") print("\\6"..tostring(file.exists("{name}"))..".")') != "false":
            raise Refused(f"{path} cannot be removed")

    @recorded_call
    def sweep(self, base: str, own_folder: str) -> None:
        """See :class:`harness.runtimes.interface.Sweeper`; on a filesystem without folders."""
        error = self.run(SWEEP).stderr
        if error:
            raise Refused(f"the harness's own files cannot be removed: {printable(error[-200:])}")

    @recorded_call
    def listdir(self, path: str = "/") -> list[str]:
        """The names of the flat filesystem. They come as hex: a name can hold anything."""
        result = self.run(
            "local function hex(c) return string.format('%02x',c:byte()) end\n"
            "for n in pairs(file.list()) do print('%'..n:gsub('.',hex)) end"
        )
        names = re.findall(rb"^%((?:[0-9a-f]{2}){1,255})\r?$", result.stdout, re.MULTILINE)
        return sorted(binascii.unhexlify(name).decode("utf-8", "replace") for name in names)


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


def _summed(data: bytes) -> str:
    check = zlib.adler32(data)
    return f"{len(data)}:{check & 0xFFFF}:{check >> 16}"


def _name(path: str) -> str:
    name = path.removeprefix("/")
    if not re.fullmatch(r"[A-Za-z0-9_.+|/-]+", name) or len(name) > _NAME_LIMIT:
        raise UsageError(f"{path!r} is no file name for NodeMCU", hint=f"letters, digits, _ . + - up to {_NAME_LIMIT}")
    return name


def client(session: Session, means: Means) -> NodeMcuBoard:
    """See :class:`harness.runtimes.traits.ClientMaker`. What its buffer takes is known: a line."""
    return NodeMcuBoard(session, reset=means.reset, intervene=means.intervene, nonces=means.nonces)


def probe(session: Session, patience: float) -> ProbeAnswer | None:
    """See :class:`harness.runtimes.traits.Probe`."""
    session.write(b"\r\n")  # ends what somebody else has typed
    session.drain()
    session.write(_WHO)
    read = session.read_until(_PROMPT, idle=1.0, deadline=min(2.0, patience))
    answer = _WHO_ANSWER.search(read.data)
    return ProbeAnswer("nodemcu", answer.group(2).decode("ascii")) if answer else None
