"""A MicroPython board over a serial session: what ends its VM or its chip's run, and its files.

The raw REPL, and everything that speaks to it, is in :mod:`harness.runtimes.micropython.raw_repl`.
"""

from __future__ import annotations

import binascii
import re
import time

import serial

from harness.errors import SET_ASIDE, ApplicationInTheWay, BenchFault, FirmwareFailure, Refused
from harness.link.panics import BANNER, printable
from harness.link.ports import PTY_BUFFER, is_pty
from harness.link.session import Read, Reason, Session
from harness.runtimes.interface import LAST_RECORD, Intervention, Restart
from harness.runtimes.micropython import plain_files
from harness.runtimes.micropython.file_programs import CHECK, LIST, RECEIVE, SEND, SWEEP
from harness.runtimes.micropython.raw_programs import EOF, GRACE
from harness.runtimes.micropython.raw_repl import RAW_PROMPT, RawRepl
from harness.runtimes.micropython.rom_writer import rom_start, write_rom
from harness.runtimes.micropython.verified import of_execution
from harness.runtimes.program import PROVES_ITSELF
from harness.runtimes.recorded import recorded_call
from harness.runtimes.traits import Means, ProbeAnswer

#: How ports whose console is a terminal of the host begin to say on what they run.
_TERMINALS = ("linux", "darwin", "win32")
#: Upload of a file: bytes the board reads before it says so; two such blocks may be under way.
_FILE_BLOCK = 128
#: The same without flow control, as text inside programs; one of them fits into any board's memory.
_TEXT_BLOCK = 512
#: A line of a file that the board sends.
_SENT = re.compile(rb"\x06([A-Za-z0-9+/=:]{1,400})\r?\n")
_UNIQUE_ID = "import machine\nprint('id', ''.join('%02x' % b for b in machine.unique_id()))"


class MicroPythonBoard(RawRepl):
    """Implements :class:`harness.runtimes.interface.BoardRuntime`."""

    @recorded_call
    def run_to_reset(self, source: str, *, within: float = 30.0, intervention: Intervention | None = None) -> Restart:
        return self._run_to_reset(source, within, intervention)

    def _run_to_reset(self, source: str, within: float, intervention: Intervention | None) -> Restart:
        with self.session.expecting_reset():
            self._send_program(source.encode())
            output = self._until_last_record()
            ended = time.perf_counter()
            with self.session.expecting_disconnect(within=within):  # native USB goes with the chip
                first = self._first_of_start(intervention, within)
            silent = time.perf_counter() - ended
            if first.data == EOF:
                raise self._not_reset()
            if first.reason is Reason.DEADLINE:
                raise FirmwareFailure(f"the chip did not start again within {within:g} s")
            self.session.transcript.note(f"started again after {silent:.3f} s")
            if first.reason is Reason.CLOSED:
                self._ask_for_a_prompt()
            rest = self._until_started(first.data)
        self.enter()
        return Restart(output, silent, first.data + rest)

    def _until_started(self, first: bytes) -> bytes:
        """What a start prints after its ``first`` byte. An application that runs then has no prompt: it is not waited
        for longer than a start takes."""
        rest = self.session.read_until(*self._started, idle=3.0, deadline=self._boot_timeout, watch_panics=False)
        self._check_crash(first + rest.data)
        if len(BANNER.findall(first + rest.data)) > 1:
            raise ApplicationInTheWay(
                "the application on the board lets the chip sleep, or resets it, before it can say how it started; "
                f"came {printable(first + rest.data[-300:])!r}",
                hint=SET_ASIDE,
            )
        return rest.data

    def _until_last_record(self) -> bytes:
        output = b""
        for wanted in (LAST_RECORD, b"\x03\r\n"):
            read = self.session.read_until(wanted, EOF, idle=30.0, deadline=30.0, of_program=True)
            output += read.data
            if read.matched == EOF:
                raise self._not_reset()
            if not read.ok:
                raise self._lost("the program's last record", read)
        return output

    def _not_reset(self) -> FirmwareFailure:
        error = printable(self._end_of_program()[-300:])
        return FirmwareFailure(f"the program did not reset the chip: {error or 'it ended'}")

    @recorded_call
    def restart_by(self, source: str) -> None:
        self._send_program(source.encode())
        read = self.session.read_until(
            RAW_PROMPT, b">>> ", EOF + b">", idle=10.0, deadline=self._boot_timeout, watch_panics=False
        )
        self._check_crash(read.data)
        if not read.ok:
            raise self._lost("a restart of the VM", read)
        self._in_hand = read.matched != b">>> "
        if read.matched == EOF + b">":
            if self._as_text:
                of_execution(read.data[:-2])
            raise FirmwareFailure(f"the VM did not restart; came {printable(read.data[-200:]) or 'nothing'!r}")
        if not self._in_hand:
            self.enter()

    def rom_start(self, length: int) -> bytes:
        return rom_start(self, length)

    def write_rom(self, image: bytes) -> None:
        write_rom(self, image)

    @recorded_call
    def restart_with_application(self) -> None:
        # In raw mode a soft reset leaves main.py out; from the friendly prompt it does not (shared/runtime/pyexec.c).
        self._take_in_hand()
        self.session.transcript.note("soft reset at the friendly prompt")
        self._in_hand = False
        self.session.write(b"\x02")
        self.session.read_until(b">>> ", idle=GRACE, deadline=GRACE)
        self.session.write(EOF)
        self.enter(after_reset=True)

    # -- files -----------------------------------------------------------------------------------

    @recorded_call
    def put(self, path: str, data: bytes) -> None:
        """Write a file: raw bytes in acknowledged blocks; then the board reads it back and says its CRC-32."""
        program = RECEIVE % (path, len(data), _FILE_BLOCK)
        if self._facts is not None and self._facts.machine.startswith(_TERMINALS):
            program = PROVES_ITSELF + program  # by raw paste alone the terminal stays raw, and takes a byte of 4 as one
        self._send_program(program.encode())
        ready = self.session.read_until(b"\x06", EOF, idle=10.0, deadline=10.0, of_program=True)
        if ready.matched == EOF:
            error = self._end_of_program()
            if b"AttributeError" not in error and b"ImportError" not in error:
                raise self._refused("written", path, error)
            self._put_as_text(path, data)
            return
        if not ready.ok:
            raise self._lost(f"that it is ready to write {path}", ready)
        self._send_blocks(path, data, ahead=0 if self._echo else 1)
        text = self._until_eof(30.0, "output")
        self._check_written(path, data, text, self._end_of_program())

    def _send_blocks(self, path: str, data: bytes, *, ahead: int) -> None:
        """``ahead``: how many blocks may be under way beside the one that is acknowledged next."""
        sent = 0
        for at in range(0, len(data), _FILE_BLOCK):
            self._say(data[at : at + _FILE_BLOCK])
            sent += 1
            if sent > ahead:
                self._acknowledged(path)
                sent -= 1
        for _ in range(sent):
            self._acknowledged(path)

    def _put_as_text(self, path: str, data: bytes) -> None:
        """The slow way, for a VM without binary input: the content as text inside programs."""
        for at in range(0, max(1, len(data)), _TEXT_BLOCK):
            block = binascii.hexlify(data[at : at + _TEXT_BLOCK])
            mode = "ab" if at else "wb"
            text = f"binascii.unhexlify({block!r})"
            result = self._run(f"import binascii\nwith open({path!r}, {mode!r}) as f: f.write({text})")
            if b"ImportError" in result.stderr:
                plain_files.put(self._run, path, data)
                return
            if result.stderr:
                raise self._refused("written", path, result.stderr)
        result = self._run(CHECK % path, timeout=60.0)
        self._check_written(path, data, result.stdout, result.stderr)

    def _check_written(self, path: str, data: bytes, text: bytes, error: bytes) -> None:
        if error:
            raise self._refused("written", path, error)
        expected = f"{len(data)} {binascii.crc32(data):08x}"
        if expected.encode() not in text.splitlines():
            came = printable(text[-200:]) or "nothing"
            raise BenchFault(f"{path}: expected {expected!r} after writing, the board says {came!r}")

    def _acknowledged(self, path: str) -> None:
        read = self.session.read_until(b"\x06", EOF, idle=10.0, deadline=10.0, of_program=True)
        if read.matched != b"\x06":
            rest = self.session.read_until(b"\x04>", idle=GRACE, deadline=GRACE)
            raise self._lost(
                f"an acknowledgement for a block of {path}", Read(read.data + rest.data, rest.reason, panic=rest.panic)
            )

    @staticmethod
    def _refused(verb: str, path: str, error: bytes) -> Refused:
        return Refused(
            f"{path} cannot be {verb}: {printable(error[-200:])}", hint="is its folder there, is there space?"
        )

    @recorded_call
    def get(self, path: str) -> bytes:
        result = self._run(SEND % path, timeout=120.0, idle=5.0)
        if b"ImportError" in result.stderr:
            return plain_files.get(self._run, path)
        if result.stderr:
            raise Refused(f"{path} cannot be read: {printable(result.stderr[-200:])}")
        lines = [mark[1] for mark in _SENT.finditer(result.stdout)]
        try:
            data = b"".join(binascii.a2b_base64(line) for line in lines[:-1])
        except binascii.Error:
            raise BenchFault(f"{path}: the board sent something that is not base64") from None
        if not lines or lines[-1] != f"{len(data)}:{binascii.crc32(data):08x}".encode():
            raise BenchFault(f"{path}: arrived damaged", hint="check the cable and the baud rate")
        return data

    @recorded_call
    def remove(self, path: str) -> None:
        result = self._run(f"import os\nos.remove({path!r})")
        if result.stderr:
            raise Refused(f"{path} cannot be removed: {printable(result.stderr[-200:])}")

    @recorded_call
    def sweep(self, base: str, own_folder: str) -> None:
        """See :class:`harness.runtimes.interface.Sweeper`."""
        result = self._run(SWEEP % (base.rstrip("/"), own_folder), timeout=60.0)
        if result.stderr:
            raise Refused(f"{own_folder} cannot be removed: {printable(result.stderr[-200:])}")

    @recorded_call
    def listdir(self, path: str) -> list[str]:
        """Names in a folder. They come as hex: a name can hold anything."""
        result = self._run(LIST % path)
        if result.stderr:
            raise Refused(f"{path} cannot be listed: {printable(result.stderr[-200:])}")
        names = re.findall(rb"^%((?:[0-9a-f]{2}){1,255})\r?$", result.stdout, re.MULTILINE)
        return [binascii.unhexlify(name).decode("utf-8", "replace") for name in names]


def client(session: Session, means: Means) -> MicroPythonBoard:
    """See :class:`harness.runtimes.traits.ClientMaker`."""
    return MicroPythonBoard(
        session,
        reset=means.reset,
        intervene=means.intervene,
        buffer=means.buffer,
        nonces=means.nonces,
        native_usb=means.native_usb,
    )


def probe(session: Session, patience: float) -> ProbeAnswer:
    """See :class:`harness.runtimes.traits.Probe`; CircuitPython answers as well, and says that it does."""
    buffer = PTY_BUFFER if isinstance(session.port, serial.Serial) and is_pty(session.port) else None
    board = MicroPythonBoard(session, boot_timeout=patience, buffer=buffer)
    try:
        board.enter()
        facts = board.facts
        uid = re.search(rb"id ([0-9a-f]{8,32})\b", board.run(_UNIQUE_ID).stdout)
        return ProbeAnswer(facts.name, facts.version, facts.machine, uid[1].decode("ascii") if uid else "")
    finally:
        session.write(b"\x02")
