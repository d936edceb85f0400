"""A MicroPython board over a serial session: raw REPL, raw paste, files, resets.

Protocol: MicroPython reference manual, "The MicroPython Interactive Interpreter Mode (aka REPL)", sections
"Raw mode" and "Raw-paste mode". The board stays in raw mode between programs; nothing here sleeps.
"""

from __future__ import annotations

import binascii
import contextlib
import hashlib
import random
import re
import time
from collections.abc import Callable

from harness.errors import BenchFault, FirmwareFailure
from harness.link.panics import printable
from harness.link.session import Read, Reason, Session
from harness.runtimes.base import Facts, RunResult
from harness.runtimes.probe import read_facts

_RAW_BANNER = b"raw REPL; CTRL-B to exit\r\n"
_RAW_PROMPT = _RAW_BANNER + b">"
_EOF = b"\x04"
#: Without flow control: bytes that go out before the board is given time (its UART buffer is 256 bytes).
_PLAIN_CHUNK = 256
_PLAIN_PAUSE = 0.01
_GRACE = 3.0
#: Upload of a file: bytes the board reads before it says so; two such blocks may be under way.
_FILE_BLOCK = 128


class MicroPythonBoard:
    """Implements :class:`harness.runtimes.base.Runtime`.

    ``reset`` resets the chip into its application; None when the wiring has no way to. ``boot_timeout`` is how
    long the VM may take to answer after a reset, in seconds.
    """

    def __init__(
        self, session: Session, *, reset: Callable[[], None] | None = None, boot_timeout: float = 15.0
    ) -> None:
        self.session = session
        self._reset = reset
        self._boot_timeout = boot_timeout
        self._random = random.Random()
        self._raw_paste = True
        self._facts: Facts | None = None

    # -- getting hold of it ----------------------------------------------------------------------

    def enter(self, *, after_reset: bool = False) -> None:
        """Take the board to raw mode and prove that it listens.

        Works on a board that prints garbage first (a ROM at another baud rate), whose ``main.py`` never ends, or
        that sits in any REPL mode. Raises BenchFault with what came when it does not answer.
        """
        with self.session.expecting_reset():
            self._enter(after_reset)

    def _enter(self, after_reset: bool) -> None:
        end = time.monotonic() + self._boot_timeout
        idle = 0.3
        heard = b""
        if after_reset:
            read = self.session.read_until(b">>> ", _RAW_PROMPT, idle=1.5, deadline=min(3.0, self._boot_timeout))
            self._check_panic(read)
            heard = read.data
        while time.monotonic() < end:
            # The first Ctrl-C ends a program, the second one that catches it; then the line is empty.
            self.session.write(b"\r\x03\x03")
            noise = self.session.read_until(b">>> ", b"\r\n>", idle=idle / 3, deadline=1.0)
            self._check_panic(noise)
            self.session.write(b"\x01")
            read = self.session.read_until(_RAW_PROMPT, idle=idle, deadline=1.0)
            self._check_panic(read)
            heard = (heard + noise.data + read.data)[-400:]
            if read.ok and self._shake_hands():
                return
            if read.reason is Reason.CLOSED:
                raise BenchFault("the port was closed while the board was asked for its REPL")
            idle = min(idle * 1.7, 2.0)
        came = printable(heard) or "nothing"
        raise BenchFault(
            f"no raw REPL within {self._boot_timeout:g} s; came {came!r}",
            hint="is there MicroPython on the board, is console.baud right, does main.py swallow KeyboardInterrupt?",
        )

    def _shake_hands(self) -> bool:
        """A question whose answer differs from its echo, so that an echo or an old answer is not taken for it."""
        self.session.drain(quiet=0.01, deadline=1.0)
        a, b = self._random.randrange(10_000, 99_999), self._random.randrange(10_000, 99_999)
        self.session.write(f"print({a}*{b})".encode() + _EOF)
        answer = f"{a * b}\r\n\x04\x04>".encode()
        return self.session.read_until(answer, idle=2.0, deadline=3.0).ok

    def _check_panic(self, read: Read) -> None:
        if read.panic is not None:
            kind = BenchFault if read.panic.kind in ("boot", "boot loop") else FirmwareFailure
            raise kind(f"the board does not start ({read.panic.kind}): {read.panic.text}")

    # -- Runtime ---------------------------------------------------------------------------------

    @property
    def facts(self) -> Facts:
        if self._facts is None:
            self._facts = read_facts(lambda source: self.run(source))
        return self._facts

    def run(self, source: str, *, timeout: float = 30.0) -> RunResult:
        started = time.perf_counter()
        self._send_program(source.encode())
        stdout = self._until_eof(timeout, "output")
        stderr = self._until_eof(_GRACE, "error text")
        prompt = self.session.read_until(b">", idle=_GRACE, deadline=_GRACE)
        if not prompt.ok:
            raise self._lost("the prompt after a program", prompt)
        return RunResult(stdout, stderr, time.perf_counter() - started)

    def soft_reset(self) -> None:
        with self.session.expecting_reset():
            self.session.write(_EOF)
            read = self.session.read_until(_RAW_PROMPT, idle=5.0, deadline=self._boot_timeout)
            self._check_panic(read)
            if not read.ok:  # a boot.py that does not end
                self._enter(after_reset=False)

    def hard_reset(self) -> None:
        if self._reset is None:
            raise BenchFault("this board's wiring has no reset line", hint="see 'reset' in docs/boards-yaml.md")
        self.session.forget_input()
        self._reset()
        self.enter(after_reset=True)

    def close(self) -> None:
        """Leave the board at its friendly prompt and close the port."""
        with contextlib.suppress(BenchFault):
            self.session.write(b"\x02", deadline=1.0)
        self.session.close()

    # -- programs --------------------------------------------------------------------------------

    def _send_program(self, source: bytes) -> None:
        if self._raw_paste and self._begin_paste():
            self._paste(source)
        else:
            self._send_plain(source)

    def _begin_paste(self) -> bool:
        self.session.write(b"\x05A\x01")
        read = self.session.read_exactly(2, deadline=_GRACE)
        if read.data == b"R\x01":
            return True
        self._raw_paste = False
        if read.data == b"R\x00":
            return False  # understood, not supported; the board is back at its prompt
        # Firmware from before raw paste takes Ctrl-A as "start over" and greets again.
        greeting = self.session.read_until(b"to exit\r\n>", idle=_GRACE, deadline=_GRACE)
        if not greeting.ok:
            raise self._lost("an answer to raw paste", Read(read.data + greeting.data, greeting.reason))
        return False

    def _paste(self, source: bytes) -> None:
        header = self.session.read_exactly(2, deadline=_GRACE)
        if not header.ok or not 0 < (window := int.from_bytes(header.data, "little")) <= 0x4000:
            raise self._lost("the raw paste window", header)
        credit, at = window, 0
        while at < len(source):
            if credit == 0 or self.session.waiting():
                flow = self.session.read_exactly(1, deadline=_GRACE)
                if flow.data == b"\x01":
                    credit += window
                elif flow.data == _EOF:  # the board has had enough: a syntax error, or Ctrl-C
                    self.session.write(_EOF)
                    return
                else:
                    raise self._lost("flow control during raw paste", flow)
                continue
            part = source[at : at + credit]
            self.session.write(part)
            at += len(part)
            credit -= len(part)
        self.session.write(_EOF)
        read = self.session.read_until(_EOF, idle=_GRACE, deadline=_GRACE)
        if not read.ok:
            raise self._lost("the end of raw paste", read)

    def _send_plain(self, source: bytes) -> None:
        for at in range(0, len(source), _PLAIN_CHUNK):
            self.session.write(source[at : at + _PLAIN_CHUNK])
            time.sleep(_PLAIN_PAUSE)  # this mode has no flow control: the board's buffer must empty
        self.session.write(_EOF)
        read = self.session.read_until(b"OK", idle=_GRACE, deadline=_GRACE)
        if not read.ok:
            raise self._lost("'OK' for a program", read)

    def _until_eof(self, timeout: float, what: str) -> bytes:
        read = self.session.read_until(_EOF, idle=timeout, deadline=timeout)
        if read.ok:
            return read.data[:-1]
        if read.reason in (Reason.IDLE, Reason.DEADLINE) and what == "output":
            self._interrupt()
            tail = printable(read.data[-300:])
            raise FirmwareFailure(f"the program did not end within {timeout:g} s; last output: {tail!r}")
        raise self._lost(what, read)

    def _interrupt(self) -> None:
        self.session.write(b"\x03\x03")
        ended = self.session.read_until(b"\x04>", idle=_GRACE, deadline=_GRACE)
        if not ended.ok:
            self.enter()

    def _lost(self, what: str, read: Read) -> BenchFault | FirmwareFailure:
        if read.panic is not None:
            return FirmwareFailure(f"the board crashed ({read.panic.kind}): {read.panic.text}")
        if read.reason is Reason.FLOOD:
            return FirmwareFailure(f"the board floods the line; waited for {what}")
        return BenchFault(f"the board did not send {what}: {read}", hint="check the cable, the baud rate and the power")

    # -- files -----------------------------------------------------------------------------------

    def put(self, path: str, data: bytes) -> None:
        """Write a file: raw bytes with acknowledged blocks, then checked by CRC-32 and length on the board."""
        program = _RECEIVE % (path, len(data), _FILE_BLOCK)
        self._send_program(program.encode())
        ready = self.session.read_until(b"\x06", _EOF, idle=_GRACE, deadline=10.0)
        if ready.matched != b"\x06":
            raise self._refused("written", path, ready)
        blocks = [data[at : at + _FILE_BLOCK] for at in range(0, len(data), _FILE_BLOCK)]
        ahead = 0
        for block in blocks:
            self.session.write(block)
            ahead += 1
            if ahead > 1:
                self._acknowledged(path)
                ahead -= 1
        while ahead:
            self._acknowledged(path)
            ahead -= 1
        text = self._until_eof(30.0, "output")
        error = self._until_eof(_GRACE, "error text")
        self.session.read_until(b">", idle=_GRACE, deadline=_GRACE)
        expected = f"{len(data)} {binascii.crc32(data):08x}"
        if text.decode("ascii", "replace").strip() != expected:
            came = printable(text + error) or "nothing"
            raise BenchFault(f"{path}: expected {expected!r} after writing, the board says {came!r}")

    def _acknowledged(self, path: str) -> None:
        read = self.session.read_exactly(1, deadline=10.0)
        if read.data != b"\x06":
            rest = self.session.read_until(b"\x04>", idle=_GRACE, deadline=_GRACE)
            raise self._refused("written", path, Read(read.data + rest.data, rest.reason))

    def _refused(self, verb: str, path: str, read: Read) -> BenchFault:
        if read.matched == _EOF:
            rest = self.session.read_until(b"\x04>", idle=_GRACE, deadline=_GRACE)
            read = Read(read.data + rest.data, rest.reason)
        return BenchFault(
            f"{path} cannot be {verb}: {printable(read.data)}", hint="is its folder there, is there space?"
        )

    def get(self, path: str) -> bytes:
        result = self.run(_SEND % path, timeout=120.0)
        if result.stderr:
            raise BenchFault(f"{path} cannot be read: {printable(result.stderr[-200:])}")
        *lines, check = result.stdout.split()
        try:
            data = b"".join(binascii.a2b_base64(line) for line in lines)
        except binascii.Error:
            raise BenchFault(f"{path}: the board sent something that is not base64") from None
        if check != f"{binascii.crc32(data):08x}".encode():
            raise BenchFault(f"{path}: arrived damaged", hint="check the cable and the baud rate")
        return data

    def remove(self, path: str) -> None:
        result = self.run(f"import os\nos.remove({path!r})")
        if result.stderr:
            raise BenchFault(f"{path} cannot be removed: {printable(result.stderr[-200:])}")

    def listdir(self, path: str) -> list[str]:
        """Names in a folder. The board's text is taken apart, never evaluated."""
        result = self.run(f"import os\nfor n in os.listdir({path!r}): print('%' + n)")
        if result.stderr:
            raise BenchFault(f"{path} cannot be listed: {printable(result.stderr[-200:])}")
        return re.findall(r"^%([^\r\n]{1,255})", result.stdout.decode("utf-8", "replace"), re.MULTILINE)

    def digest(self, path: str) -> str:
        """First half of the SHA-256 of a file's content, as hex."""
        return hashlib.sha256(self.get(path)).hexdigest()[:32]


# Ctrl-C is off while raw bytes arrive: one of them may be 3.
_RECEIVE = """
def _r(path, left, size):
    import sys, micropython
    from binascii import crc32
    total, crc, block = left, 0, memoryview(bytearray(size))
    with open(path, "wb") as f:
        micropython.kbd_intr(-1)
        try:
            sys.stdout.write("\\x06")
            while left:
                n = sys.stdin.buffer.readinto(block[:min(size, left)])
                f.write(block[:n])
                crc = crc32(block[:n], crc)
                left -= n
                sys.stdout.write("\\x06")
        finally:
            micropython.kbd_intr(3)
    print("%%d %%08x" %% (total, crc & 0xFFFFFFFF))
_r(%r, %d, %d)
del _r
"""

_SEND = """
def _s(path):
    from binascii import b2a_base64, crc32
    crc = 0
    with open(path, "rb") as f:
        while True:
            block = f.read(192)
            if not block:
                break
            crc = crc32(block, crc)
            print(b2a_base64(block).decode(), end="")
    print("%%08x" %% (crc & 0xFFFFFFFF))
_s(%r)
del _s
"""
