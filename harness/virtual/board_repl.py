"""The REPL of the virtual boards' firmware: friendly, raw and raw-paste.

The VM build that the boards run has no ``shared/runtime/pyexec.c``; this is its counterpart, byte for
byte on the wire (MicroPython reference manual, "The MicroPython Interactive Interpreter Mode (aka REPL)",
sections "Raw mode" and "Raw-paste mode"). Left out of the friendly prompt: tab completion, auto-indent
and history.
"""

from __future__ import annotations

import re
from typing import Protocol

CTRL_A, CTRL_B, CTRL_C, CTRL_D, CTRL_E = 1, 2, 3, 4, 5
RAW_BANNER = b"raw REPL; CTRL-B to exit\r\n"
#: Half of upstream's stdin buffer (``MICROPY_REPL_STDIN_BUFFER_MAX`` = 256), in bytes.
WINDOW = 128
#: A program longer than this is cut off: it would not fit into a board's memory either.
SOURCE_LIMIT = 256 * 1024


class SoftReset(Exception):
    """Ctrl-D on an empty line."""


class Terminal(Protocol):
    """The REPL's two wires. ``getc`` waits for one byte; it raises when the board is stopped.

    While the REPL is ``idle`` it may raise InterruptedError instead; the next call goes on at the prompt.
    """

    def getc(self) -> int: ...
    def send(self, data: bytes) -> None: ...


class Repl:
    """Hands out one program at a time; between two of them it talks to whoever is on the line.

    ``raw`` persists over soft resets, as upstream's ``pyexec_mode_kind`` does.
    """

    def __init__(self, terminal: Terminal, banner: bytes, *, raw: bool = False) -> None:
        self._terminal = terminal
        self._banner = banner
        self.raw = raw
        self._announce = True
        self._eof_marks = False  # the running program's output is framed by 0x04
        #: The prompt stands on the line, and nothing after it.
        self.idle = False

    def restart(self) -> None:
        """The VM was started again: the mode stays, and its greeting is due."""
        self._announce = True
        self.idle = False

    def next_program(self) -> bytes:
        """Source of the next program. Raises :class:`SoftReset` when one is asked for."""
        while True:
            source = self._raw_program() if self.raw else self._friendly_program()
            if source is not None:
                return source

    def finished(self, error: bytes) -> None:
        """The program handed out last has ended with ``error`` (a traceback, or empty)."""
        if self._eof_marks:
            self._terminal.send(b"\x04" + error + b"\x04")
        else:
            self._terminal.send(error)
        self._eof_marks = False

    def _first(self, prompt: bytes) -> int:
        """The first character after a prompt."""
        if not self.idle:
            self._terminal.send(prompt)
            self.idle = True
        char = self._terminal.getc()
        self.idle = False
        return char

    # -- raw -------------------------------------------------------------------------------------

    def _raw_program(self) -> bytes | None:
        send, getc = self._terminal.send, self._terminal.getc
        if self._announce:
            send(RAW_BANNER)
            self._announce = False
        line = bytearray()
        char = self._first(b">")
        while True:
            if char == CTRL_A:
                if len(line) == 2 and line[0] == CTRL_E:
                    return self._raw_paste(line[1])
                send(RAW_BANNER + b">")
                line.clear()
            elif char == CTRL_B:
                send(b"\r\n")
                self.raw = False
                self._announce = True
                return None
            elif char == CTRL_C:
                line.clear()
            elif char == CTRL_D:
                send(b"OK")
                if not line:
                    send(b"\r\n")
                    raise SoftReset
                self._eof_marks = True
                return bytes(line)
            elif len(line) < SOURCE_LIMIT:
                line.append(char)
            char = getc()

    def _raw_paste(self, command: int) -> bytes | None:
        send, getc = self._terminal.send, self._terminal.getc
        if command != ord("A"):
            send(b"R\x00")
            return None
        send(b"R\x01" + WINDOW.to_bytes(2, "little") + b"\x01")
        source, remain = bytearray(), WINDOW
        while True:
            char = getc()
            if char in (CTRL_C, CTRL_D):
                send(b"\x04")
                self._eof_marks = True
                return bytes(source) if char == CTRL_D else b"raise KeyboardInterrupt"
            if len(source) < SOURCE_LIMIT:
                source.append(char)
            remain -= 1
            if remain == 0:
                send(b"\x01")
                remain = WINDOW

    # -- friendly --------------------------------------------------------------------------------

    def _friendly_program(self) -> bytes | None:
        send = self._terminal.send
        if self._announce:
            send(self._banner)
            self._announce = False
        lines: list[bytes] = []
        while True:
            if lines:
                send(b"... ")
                first = self._terminal.getc()
            else:
                first = self._first(b">>> ")
            line = self._line(first, alone=not lines)
            if line is None:
                return None
            lines.append(line)
            source = b"\n".join(lines)
            if not source.strip():
                return None
            if not incomplete(source):
                return b"exec(compile(" + _literal(source) + b",'<stdin>','single'))"

    def _line(self, char: int, *, alone: bool) -> bytes | None:
        """One edited line that starts with ``char``; None when a control key ended it."""
        send, getc = self._terminal.send, self._terminal.getc
        line = bytearray()
        while True:
            if char in (0x0D, 0x0A):
                send(b"\r\n")
                return bytes(line)
            if char == CTRL_C:
                send(b"\r\n")
                return None
            if alone and not line and char == CTRL_A:
                send(b"\r\n")
                self.raw = self._announce = True
                return None
            if alone and not line and char == CTRL_B:
                send(b"\r\n")
                self._announce = True
                return None
            if alone and not line and char == CTRL_D:
                send(b"\r\n")
                raise SoftReset
            if alone and not line and char == CTRL_E:
                return self._paste()
            if char in (0x08, 0x7F):
                if line:
                    line.pop()
                    send(b"\b \b")
            elif char == 0x1B:
                self._skip_escape()
            elif (char >= 0x20 or char == 0x09) and len(line) < SOURCE_LIMIT:
                line.append(char)
                send(bytes([char]))
            char = getc()

    def _skip_escape(self) -> None:
        """Swallow a cursor key; they have no effect here."""
        if self._terminal.getc() in b"[O":
            while self._terminal.getc() < 0x40:
                pass

    def _paste(self) -> bytes | None:
        send, getc = self._terminal.send, self._terminal.getc
        send(b"\r\npaste mode; Ctrl-C to cancel, Ctrl-D to finish\r\n=== ")
        text = bytearray()
        while True:
            char = getc()
            if char == CTRL_C:
                send(b"\r\n")
                return None
            if char == CTRL_D:
                send(b"\r\n")
                # One `exec` call: a single complete line, whatever was pasted.
                return b"exec(" + _literal(bytes(text)) + b")"
            if len(text) < SOURCE_LIMIT:
                text.append(0x0A if char == 0x0D else char)
                send(b"\r\n=== " if char == 0x0D else bytes([char]))


def _literal(source: bytes) -> bytes:
    return repr(source.decode("utf-8", "replace")).encode("ascii", "backslashreplace")


_COMPOUND = re.compile(rb"\s*(@|(if|while|for|try|with|def|class|async)\b)")
_STRING = re.compile(
    rb"'''.*?('''|\Z)|\"\"\".*?(\"\"\"|\Z)|'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"|#[^\n]*", re.DOTALL
)


def incomplete(source: bytes) -> bool:
    """Whether the prompt should ask for another line.

    The rules of ``mp_repl_continue_with_input`` (MicroPython ``py/repl.c``): a compound statement ends with
    an empty line; open brackets, an open triple quote or a trailing backslash continue.
    """
    if _COMPOUND.match(source):
        return not source.endswith(b"\n")
    bare = _STRING.sub(lambda m: b"" if b"" not in m.groups() else b"(", source)
    if bare.endswith(b"\\"):
        return True
    opened = sum(bare.count(c) for c in (b"(", b"[", b"{"))
    return opened > sum(bare.count(c) for c in (b")", b"]", b"}"))
