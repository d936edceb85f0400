"""A MicroPython board on a pty, as far as the wire shows it: upstream's REPL byte for byte, and its faults.

Written from MicroPython's ``shared/runtime/pyexec.c`` and its reference manual, and independent of the
harness's own virtual boards, so that client and server cannot share a misunderstanding.
"""

import contextlib
import os
import re
import select
import threading
import time
import tty

FRIENDLY = b'MicroPython v1.26.0 on 2025-08-09; Scripted board with nothing\r\nType "help()" for more.\r\n>>> '
RAW = b"raw REPL; CTRL-B to exit\r\n>"
GURU = b"Guru Meditation Error: Core  1 panic'ed (LoadProhibited). Exception was unhandled.\r\n"
ROM = b"ets Jul 29 2019 12:21:46\r\n\r\nrst:0xc (SW_CPU_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n"
#: Resets of which a ROM says nothing that can be read: an STM32's, and an ESP8266's at another baud rate.
SILENT_RESETS = {b"reset stm32": b"", b"reset esp8266": bytes(range(0x80, 0x100)) + b"\xfe\0\r\n"}
SYNTAX_ERROR = b'Traceback (most recent call last):\r\n  File "<stdin>", line 1\r\nSyntaxError: invalid syntax\r\n'
WINDOW = 128


class ScriptedBoard:
    """``paste`` is "yes", "refused" (``R\\x00``) or "old" (firmware that does not know of it).

    ``soft_reset`` is what follows the "OK" of a Ctrl-D, ``None`` for a healthy one. ``gives_up_after``: bytes
    of a raw paste after which the compiler finds an error. ``stubborn``: ``main.py`` runs, and catches the
    first Ctrl-C. ``vanishes_at``: bytes received after which the port is gone. ``slow``: takes no window of a
    raw paste while more is coming, so that ``overruns`` counts each one that a client sends without leave.
    """

    def __init__(
        self,
        *,
        paste: str = "yes",
        echo: bool = False,
        split: bool = False,
        stubborn: bool = False,
        soft_reset: bytes | None = None,
        gives_up_after: int | None = None,
        vanishes_at: int | None = None,
        slow: bool = False,
    ) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._paste, self._echo, self._split = paste, echo, split
        self._soft_reset, self._gives_up_after = soft_reset, gives_up_after
        self._stubborn, self._vanishes_at, self._slow = stubborn, vanishes_at, slow
        self._typed = bytearray()
        self._taken = 0
        self.programs: list[bytes] = []
        self.overruns = 0  # bytes that came without credit in raw paste: lost, on a board
        self.raw = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """To be called when the client has closed: the thread's read ends with the last slave."""
        os.close(self._slave)
        self._thread.join(5)
        assert not self._thread.is_alive()
        with contextlib.suppress(OSError):  # it may have vanished
            os.close(self._master)

    # -- the wire --------------------------------------------------------------------------------

    def say(self, data: bytes) -> None:
        for part in [data[i : i + 1] for i in range(len(data))] if self._split else [data]:
            while part:
                part = part[os.write(self._master, part) :]

    def _getc(self) -> int:
        if not self._typed:
            self._typed += os.read(self._master, 512)
        char = self._typed.pop(0)
        self._taken += 1
        if self._taken == self._vanishes_at:
            os.close(self._master)
            raise EOFError
        if self._echo:
            self.say(bytes([char]))
        return char

    def _run(self) -> None:
        try:
            if self._stubborn:
                caught = 0
                while caught < 2:
                    caught += self._getc() == 3
                    self.say(b"busy\r\n")
                self.say(b"Traceback (most recent call last):\r\nKeyboardInterrupt: \r\n" + FRIENDLY)
            while True:
                (self._raw_mode if self.raw else self._friendly_mode)()
        except (EOFError, OSError):
            pass

    # -- the two modes ---------------------------------------------------------------------------

    def _friendly_mode(self) -> None:
        while True:
            char = self._getc()
            if char == 1:
                self.raw = True
                self.say(b"\r\n" + RAW)
                return
            if char == 2:
                self.say(b"\r\n" + FRIENDLY)
            elif char in (3, 13):
                self.say(b"\r\n>>> ")
            else:
                self.say(bytes([char]))

    def _raw_mode(self) -> None:
        line = bytearray()
        while True:
            char = self._getc()
            if char == 1 and line == b"\x05A" and self._paste == "yes":
                self._raw_paste()
                line.clear()
            elif char == 1 and line == b"\x05A" and self._paste == "refused":
                self.say(b"R\x00>")
                line.clear()
            elif char == 1:
                self.say(RAW)
                line.clear()
            elif char == 2:
                self.raw = False
                self.say(b"\r\n" + FRIENDLY)
                return
            elif char == 3:
                line.clear()
            elif char == 4:
                self.say(b"OK")
                if line:
                    self._execute(bytes(line))
                    line.clear()
                elif self._restart():
                    return
            else:
                line.append(char)
            if not self.raw:
                return

    def _restart(self) -> bool:
        """A soft reset; True when the board is at its friendly prompt after it."""
        if self._soft_reset is None:
            self.say(b"\r\nMPY: soft reboot\r\n" + RAW)
            return False
        self.raw = False
        self.say(b"\r\nMPY: soft reboot\r\n" + self._soft_reset + FRIENDLY)
        return True

    def _raw_paste(self) -> None:
        self.say(b"R\x01" + WINDOW.to_bytes(2, "little") + b"\x01")
        granted, window, source = 2 * WINDOW, WINDOW, bytearray()
        while True:
            if self._slow and window == WINDOW:
                while select.select([self._master], [], [], 0.02)[0]:
                    self._typed += os.read(self._master, 4096)
                # One byte more is allowed: the 0x04 that ends the paste needs no credit.
                self.overruns += max(0, len(source) + len(self._typed) - granted - 1)
            char = self._getc()
            if char in (3, 4):
                self.say(b"\x04")
                break
            source.append(char)
            if source.endswith(b"reset now"):
                self.raw = False
                self.say(b"\x80\xfe\r\n" + FRIENDLY)
                return
            if len(source) == self._gives_up_after:
                self.say(b"\x04")
                while self._getc() not in (3, 4):
                    pass
                self.say(b"\x04" + SYNTAX_ERROR + b"\x04>")
                return
            window -= 1
            if window == 0:
                self.say(b"\x01")
                granted, window = granted + WINDOW, WINDOW
        self._execute(bytes(source))

    # -- programs --------------------------------------------------------------------------------

    def _execute(self, source: bytes) -> None:
        """Knows ``print(a*b)`` and some words; any other program does nothing."""
        self.programs.append(source)
        product = re.match(rb"print\((\d+)(?:\*(\d+))?\)", source)
        if product:
            self.say(b"%d\r\n" % (int(product[1]) * int(product[2] or 1)))
        elif source == b"hang":
            self.say(b"working\r\n")
            self._until_interrupted(b"")
        elif source == b"flood":
            self._until_interrupted(b"spam " * 200)
        elif source == b"crash":
            self.raw = False
            self.say(b"so far\r\n" + GURU + b"\r\nRebooting...\r\n" + ROM + FRIENDLY)
            return
        elif source in SILENT_RESETS:
            self.raw = False
            self.say(b"so far\r\n" + SILENT_RESETS[source] + FRIENDLY)
            return
        elif source == b"greet":
            self.say(FRIENDLY)
            time.sleep(0.8)
            self.say(b"and on\r\n")
        self.say(b"\x04\x04>")

    def _until_interrupted(self, output: bytes) -> None:
        os.set_blocking(self._master, not output)
        try:
            while True:
                try:
                    if 3 in os.read(self._master, 256):
                        return
                except BlockingIOError:
                    pass
                with contextlib.suppress(BlockingIOError):
                    os.write(self._master, output)
        finally:
            os.set_blocking(self._master, True)
