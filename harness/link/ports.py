"""Opening the port of a board, whatever it is: a local device or a pyserial URL."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Any, Protocol

import serial

from harness.errors import BenchFault, PortBusy
from harness.link.host_system import busy_hint, this_system
from harness.link.panics import printable
from harness.link.port_address import wrong_address
from harness.link.rfc2217 import QuickRfc2217
from harness.shown import plain

#: An open port, whatever stands behind it.
OpenPort = serial.Serial | QuickRfc2217
#: What a console on a pseudo-terminal surely takes at once, in bytes: nothing slows that line down.
PTY_BUFFER = 64
#: For whoever sets none, in seconds.
_WRITE_TIMEOUT = 5.0


def open_port(address: str, *, baud: int = 115200, dtr: bool = False, rts: bool = False) -> OpenPort:
    """Open ``address`` at ``baud`` and leave DTR and RTS at the given idle levels.

    Opening does not reset a devkit: a local port's lines are both asserted by the system, which is neutral
    there, and then released together; over RFC 2217 they go straight to their idle levels. Raises PortBusy when
    another program has it, BenchFault that says what is wrong with the port and what to try.
    """
    port: OpenPort
    require_address(address)
    try:
        if address.startswith("rfc2217://"):
            port = QuickRfc2217(None, baudrate=baud, timeout=0.1, write_timeout=_WRITE_TIMEOUT)
            port.dtr, port.rts, port.port = dtr, rts, address
            port.open()
            return port
        if "://" in address:
            port = serial.serial_for_url(address, baudrate=baud, timeout=0.1)
        else:
            address = this_system().callout(address)
            port = serial.Serial(address, baudrate=baud, timeout=0.1, write_timeout=_WRITE_TIMEOUT, exclusive=True)
    except (serial.SerialException, OSError, ValueError) as problem:
        raise _explained(address, problem) from None
    set_lines(port, dtr=dtr, rts=rts)
    return port


def require_address(address: str) -> None:
    """Raises BenchFault for a URL that names no host or no port."""
    if wrong := wrong_address(address):
        raise BenchFault(
            f"{plain(address, 200)}: cannot be opened: {wrong}",
            hint="give the host and the TCP port of the server that has the board, such as rfc2217://bench-pi:4000",
        )


def is_pty(port: Any) -> bool:
    """Whether the open ``port`` is a pseudo-terminal, which has neither modem lines nor parity."""
    name = str(port.port)
    return "://" not in name and "/pts/" in str(Path(name).resolve())


def no_reset_lines(port: Any) -> str:
    """Why the open ``port`` carries neither DTR nor RTS, in words; empty when it does, as far as can be told."""
    if is_pty(port):
        return "it is a pseudo-terminal"
    if str(port.port).startswith("socket://"):
        return "a raw socket carries bytes alone; rfc2217:// carries them too"
    if isinstance(port, QuickRfc2217) and not port.lines_answered:
        return "its server answers no change of them ('?ign_set_control' in the URL, if it acts on them in silence)"
    try:
        descriptor = port.fileno() if isinstance(port, serial.Serial) and sys.platform != "win32" else None
    except (AttributeError, OSError):
        descriptor = None
    if descriptor is not None:
        import fcntl
        import termios

        try:
            fcntl.ioctl(descriptor, termios.TIOCMGET, bytes(4))
        except OSError as problem:
            if problem.errno in (errno.ENOTTY, errno.EINVAL):
                return "its driver has no modem lines"
    return ""


class ModemLines(Protocol):
    """A port as far as a reset needs it: its name, and the two lines that a computer sets."""

    dtr: bool
    rts: bool

    @property
    def port(self) -> str | None: ...


def set_lines(port: ModemLines, *, dtr: bool, rts: bool) -> None:
    """Set both lines without passing through "RTS alone", which would reset a devkit on the way.

    On a port that has no such lines (a pty, a raw socket) nothing happens.
    """
    try:
        descriptor = port.fileno() if isinstance(port, serial.Serial) and sys.platform != "win32" else None
    except (AttributeError, OSError):  # includes io.UnsupportedOperation
        descriptor = None
    try:
        if descriptor is not None:
            _set_together(descriptor, dtr, rts)
            vars(port).update(_dtr_state=dtr, _rts_state=rts)  # what pyserial believes
        elif rts:
            port.dtr, port.rts = dtr, rts
        else:
            port.rts = rts
            port.dtr = dtr
    except OSError as problem:
        if problem.errno not in (errno.ENOTTY, errno.EINVAL):
            raise BenchFault(f"{port.port}: DTR and RTS cannot be set: {problem.strerror}") from None


def _set_together(descriptor: int, dtr: bool, rts: bool) -> None:
    """One ioctl for both lines (Linux ``ioctl_tty(2)``, TIOCMSET)."""
    import fcntl
    import struct
    import termios

    status = struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCMGET, bytes(4)))[0]
    for bit, wanted in ((termios.TIOCM_DTR, dtr), (termios.TIOCM_RTS, rts)):
        status = status | bit if wanted else status & ~bit
    fcntl.ioctl(descriptor, termios.TIOCMSET, struct.pack("i", status))


_SERVER_GONE = ("Broken pipe", "closed the connection", "connection to the port server is gone")


def _explained(address: str, problem: Exception) -> BenchFault:
    number = getattr(problem, "errno", None)
    text = str(problem)
    if number == errno.ENOENT or "No such file" in text:
        return BenchFault(
            f"{address}: there is no such port",
            hint="is the board plugged in? `harness boards --ports` lists ports",
        )
    if number == errno.EACCES or "Permission denied" in text:
        return BenchFault(f"{address}: no permission to open the port", hint=this_system().no_permission(address))
    if number in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in text or "busy" in text.lower():
        holder = this_system().holder(address)
        name, number = holder or ("", "")
        by = f" by {printable(name.encode(), 40)} (process {number})" if holder else ""
        return PortBusy(f"{address}: the port is in use{by}", hint=busy_hint(name))
    if "did not answer a change" in text:
        return BenchFault(
            f"{address}: {text}",
            hint="a server that acts on DTR and RTS in silence needs '?ign_set_control' in the URL",
        )
    if "refused to change" in text:
        return BenchFault(f"{address}: {text}", hint="does this server's adapter know the baud rate in boards.yaml?")
    if number in (errno.EPIPE, errno.ECONNRESET) or any(sign in text for sign in _SERVER_GONE):
        return PortBusy(f"{address}: the port server closed the connection", hint="is another client connected to it?")
    if number == errno.ECONNREFUSED or "Connection refused" in text:
        return BenchFault(f"{address}: nothing listens there", hint="is the port server running?")
    return BenchFault(f"{address}: cannot be opened: {text[:200]}", hint="is it the port that is meant?")
