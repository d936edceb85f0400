"""A NodeMCU board over a serial session. A program that hangs can only be reset."""

from __future__ import annotations

import binascii
import re
import time
import zlib

from harness.errors import BenchFault, FirmwareFailure, Refused, UsageError
from harness.link.panics import crashed, printable
from harness.link.session import Read, Reason, Session
from harness.runtimes.interface import LAST_RECORD, Facts, Intervention, LfsState, Restart, RunResult
from harness.runtimes.nodemcu.nodemcu_lines import (
    BEGIN,
    COMING,
    END,
    FACTS,
    LFS_STATE,
    OPENED,
    OVER,
    PROGRAM,
    SWEEP,
    base64_blocks,
    text_blocks,
)  # fmt: skip
from harness.runtimes.nodemcu.nodemcu_repl import GRACE, PROMPT, NodeMcuRepl
from harness.runtimes.recorded import recorded_call
from harness.runtimes.traits import Means, ProbeAnswer

_BANNER = b"\nNodeMCU "
_FRAME = re.compile(rb"\x02([\x20-\x7e]{1,400})\x03")
_NAME_LIMIT = 31
#: What writing the largest LFS region may take, in seconds, with the wait for the watchdog.
_RELOAD = 30.0
#: Its console answers each line. The sum makes the answer differ from its echo.
_WHO = b'print("vm".."-lua", node.chipid(), _VERSION)\r\n'
_LFS_ANSWER = re.compile(rb"\x06l (\d{1,10}) (\d{1,10}) (\d{1,10}) (\d{1,10}) (\d{1,10}|nil) (true|false)\b")
#: The words of ``luaN_init`` in ``app/lua/lflash.c`` about an image that it does not load.
_LFS_WORDS = re.compile(
    rb"No LFS image loaded|Flash sig not correct: [\w :]{1,60}|Flash size check failed: [\w >=;]{1,90}"
)
_WHO_ANSWER = re.compile(rb"vm-lua\s+(\w{1,20})\s+(Lua [\w. ]{1,20})")


class NodeMcuBoard(NodeMcuRepl):
    """Implements :class:`harness.runtimes.interface.BoardRuntime`."""

    loaded_own_lfs = False
    _lfs_words = ""

    def say_line(self, line: str) -> bytes:
        """One line, which the board evaluates without a file; what it prints.

        Raises FirmwareFailure when it is an error.
        """
        self._take_in_hand()
        return self._say(line)

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
        if not (read := self.session.read_until(PROMPT, idle=GRACE, deadline=GRACE)).ok:
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
            more = self.session.read_until(END, b"\n" + PROMPT, idle=timeout, deadline=timeout, of_program=True)
            went_on = more.matched == END
            read = Read(read.data + more.data, read.reason, END if went_on else _BANNER, read.panic or more.panic)
        stdout = self._checked_output(read, timeout)
        error = self._error_text()
        self._settle()
        if read.panic is not None and self._answer('print("\\6"..tostring(_hxr~=nil)..".")') != "true":
            raise self._lost("the end of a program in the VM that it began in", read)
        return RunResult(stdout, error, time.perf_counter() - started)

    def _start(self, source: str) -> None:
        self._write(PROGRAM, source.encode(), PROGRAM)
        self._in_hand = False
        self.session.write(b"_hxr()\r")
        read = self.session.read_until(BEGIN, idle=GRACE, deadline=GRACE)
        if not read.ok:
            raise self._lost("the start of a program", read)
        self.session.read_until(b"\n", idle=GRACE, deadline=GRACE)

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
        read = self.session.read_until(OVER, idle=GRACE, deadline=GRACE)
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
        read = self._ask(GRACE)
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
            rest = self.session.read_until(b"\n" + PROMPT, idle=3.0, deadline=self._boot_timeout, watch_panics=False)
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
            self._hear_of_lfs(read.data + self._heard)

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
                self._hear_of_lfs(read.data.rpartition(b"Restarting.")[2] + self._heard)
                self.loaded_own_lfs = name.startswith("hx_")
                return ""
        if not read.ok:
            raise self._lost("the end of an LFS reload", read)
        error = self._error_text()
        self._settle()
        said = _FRAME.search(read.data)
        return said.group(1).decode("ascii") if said else printable(error)

    @property
    def lfs_start_words(self) -> str:
        """See :class:`harness.runtimes.interface.LfsTeller`."""
        return self._lfs_words

    def _enter(self, after_reset: bool) -> None:
        super()._enter(after_reset)
        if after_reset:
            self._hear_of_lfs(self._heard)

    def _hear_of_lfs(self, start: bytes) -> None:
        words = _LFS_WORDS.findall(start)
        self._lfs_words = words[-1].decode("ascii").strip() if words else ""

    @recorded_call
    def lfs_state(self) -> LfsState | None:
        """See :class:`harness.runtimes.interface.LfsTeller`."""
        try:
            answer = _LFS_ANSWER.search(self.say_line(LFS_STATE))
        except FirmwareFailure:  # before node.info knew groups
            return None
        if answer is None:
            return None
        base, mapped, size, used = (int(number) for number in answer.groups()[:4])
        built, floats = answer.groups()[4:]
        numbers = "float" if floats == b"true" else "integer"
        return LfsState(base, mapped, size, used, int(built) if used and built != b"nil" else 0, numbers)

    # -- files -----------------------------------------------------------------------------------

    @recorded_call
    def put(self, path: str, data: bytes) -> None:
        """Write a file; the board reads it back and says length and Adler-32.

        It has its name only after that: a piece that an interrupted upload left must not be taken for the file.
        """
        name = _name(path)
        self._take_in_hand()
        self._name_it(name)
        self._say("file.remove(_hxn)")  # there may not be room for both
        self._write(COMING, data, path)
        if self._answer(f'print("\\6"..tostring(file.rename("{COMING}",_hxn))..".")') != "true":
            raise Refused(
                f"{path} cannot be written: file.rename answered false",
                hint="is there space on the board's filesystem? Its names have at most 31 characters",
            )

    def _name_it(self, name: str) -> None:
        """Its echo shows that the name arrived, before anything is done to a file of that name."""
        self._say(f'_hxn="{name}"')

    def _write(self, name: str, data: bytes, path: str) -> None:
        """One of ``OPENED``, in acknowledged lines; ``path`` is what it is to people."""
        self._take_in_hand()
        blocks = list(text_blocks(data))
        if self._base64 and len(data) > 64:
            packed = list(base64_blocks(data))
            blocks = packed if sum(map(len, packed)) < sum(map(len, blocks)) else blocks
        # One that an interrupted upload left open would come over this one when it is closed.
        self._say("if _hxf then pcall(_hxf.close,_hxf) end")
        if self._answer(f"_hxo({OPENED[name]})") != "open":
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
        return self._answer(f'print(_hxa(file.open("{name}")))', timeout=GRACE + size / 2000)

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
        self._name_it(name)
        if self._answer('file.remove(_hxn) print("\\6"..tostring(file.exists(_hxn))..".")') != "false":
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
    read = session.read_until(PROMPT, idle=1.0, deadline=min(2.0, patience))
    answer = _WHO_ANSWER.search(read.data)
    return ProbeAnswer("nodemcu", answer.group(2).decode("ascii")) if answer else None
