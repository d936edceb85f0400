"""This computer, as far as setting up a bench asks about it.

Everything is read below one root folder, so that a test can show a machine that is not there. Nothing here opens a
serial port: on many adapters the opening alone moves DTR and RTS, and so resets a board.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.children import run_child

_LOCATION = re.compile(r"[0-9]+-[0-9]+(\.[0-9]+)*")
_ROOT_HUB = re.compile(r"usb[0-9]+")
#: No file that is read here is longer than this; what follows is left out.
_MAX_FILE = 256 * 1024


@dataclass(frozen=True)
class UsbDevice:
    """One device in /sys/bus/usb/devices (Linux Documentation/ABI/testing/sysfs-bus-usb).

    ``location`` is bus and hub ports (``1-1.4``; a root hub is ``usb1``). ``ports`` are its serial devices, each with
    the interface that it stands on (``/dev/ttyUSB0``, ``1-1.4:1.0``).
    ``power_control`` is ``auto`` when the kernel may suspend it.
    """

    location: str
    vid_pid: str
    serial: str = ""
    product: str = ""
    ports: tuple[tuple[str, str], ...] = ()
    power_control: str = ""
    bus_file: str = ""


@dataclass(frozen=True)
class Access:
    """Who may use a device file: ``mode`` as in stat(2), owner and group by number and name."""

    mode: int
    uid: int
    gid: int
    group: str


class Machine:
    """The computer below ``root``. ``ids`` are this process's user and group ids, given by tests."""

    def __init__(self, root: Path | str = "/", *, ids: tuple[int, frozenset[int]] | None = None) -> None:
        self.root = Path(root)
        self.uid, self.gids = ids or (os.geteuid(), frozenset((os.getegid(), *os.getgroups())))

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    def read(self, name: str) -> str:
        """The start of a text file, made printable line by line; empty when it cannot be read."""
        try:
            with self.path(name).open("rb") as file:
                text = file.read(_MAX_FILE).decode("utf-8", "replace")
        except OSError:
            return ""
        return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)

    def names(self, folder: str) -> list[str]:
        """What is in a folder, sorted; nothing when it cannot be read."""
        try:
            return sorted(entry.name for entry in self.path(folder).iterdir())
        except OSError:
            return []

    # -- USB -------------------------------------------------------------------------------------

    @property
    def has_usb(self) -> bool:
        return self.path("sys/bus/usb/devices").is_dir()

    def usb_devices(self) -> list[UsbDevice]:
        """Every USB device and hub, in the order of their sockets."""
        known = "sys/bus/usb/devices"
        devices = [
            self._usb_device(f"{known}/{name}", name)
            for name in self.names(known)
            if _LOCATION.fullmatch(name) or _ROOT_HUB.fullmatch(name)
        ]
        return sorted(
            (device for device in devices if device is not None), key=lambda device: _by_socket(device.location)
        )

    def _usb_device(self, folder: str, location: str) -> UsbDevice | None:
        def fact(name: str) -> str:
            return self.read(f"{folder}/{name}").strip()[:200]

        vid, pid = fact("idVendor").lower(), fact("idProduct").lower()
        if not re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{4}", f"{vid}:{pid}"):
            return None  # unplugged while we look
        bus, number = fact("busnum"), fact("devnum")
        in_numbers = bus.isdecimal() and number.isdecimal()
        return UsbDevice(
            location=location,
            vid_pid=f"{vid}:{pid}",
            serial=fact("serial"),
            product=fact("product"),
            ports=tuple(self._ports_of(folder, location)),
            power_control=fact("power/control"),
            bus_file=f"/dev/bus/usb/{int(bus):03}/{int(number):03}" if in_numbers else "",
        )

    def _ports_of(self, folder: str, location: str) -> Iterator[tuple[str, str]]:
        """USB serial adapters have ``1-1:1.0/ttyUSB0``, CDC-ACM devices ``1-1:1.0/tty/ttyACM0``."""
        for interface in self.names(folder):
            if not interface.startswith(f"{location}:"):
                continue
            for name in self.names(f"{folder}/{interface}"):
                if re.fullmatch(r"ttyUSB[0-9]+", name):
                    yield f"/dev/{name}", interface
            for name in self.names(f"{folder}/{interface}/tty"):
                yield f"/dev/{name}", interface

    # -- the system ------------------------------------------------------------------------------

    def processes(self) -> dict[int, str]:
        """Process ids with the names that /proc shows."""
        numbers = [int(name) for name in self.names("proc") if name.isdecimal()]
        return {number: self.read(f"proc/{number}/comm").strip() for number in numbers}

    def access(self, device: str) -> Access | None:
        """Who may use a device file; None when it is not there."""
        try:
            status = self.path(device).stat()
        except OSError:
            return None
        return Access(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, self.group_name(status.st_gid))

    def may_use(self, access: Access) -> bool:
        """Whether this process may read and write, by mode bits alone: the way a system asks for a device file."""
        if self.uid == 0:
            return True
        shift = 6 if access.uid == self.uid else 3 if access.gid in self.gids else 0
        return access.mode >> shift & 0o6 == 0o6

    def group_name(self, gid: int) -> str:
        for line in self.read("etc/group").splitlines():
            parts = line.split(":")
            if len(parts) >= 3 and parts[2] == str(gid):
                return parts[0]
        return str(gid)

    def group_members(self, group: str) -> set[str]:
        for line in self.read("etc/group").splitlines():
            parts = line.split(":")
            if len(parts) >= 4 and parts[0] == group:
                return {name for name in parts[3].split(",") if name}
        return set()

    def udev_rules(self) -> str:
        """The text of all udev rules, comments left out."""
        lines = []
        for folder in ("etc/udev/rules.d", "run/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d"):
            for name in self.names(folder):
                if name.endswith(".rules"):
                    lines += self.read(f"{folder}/{name}").splitlines()
        return "\n".join(line for line in lines if not line.lstrip().startswith("#"))

    def free_bytes(self, folder: Path) -> int:
        """Free space for this user, in bytes, at ``folder`` or the nearest folder above it that exists."""
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return shutil.disk_usage(folder).free

    def tool(self, command: Sequence[str], *, timeout: float = 10.0) -> str | None:
        """The first line that a program prints, None when it is not installed, "" when it says nothing.

        Programs that came with the harness are found too, when its environment is not the one on PATH.
        """
        program = shutil.which(command[0]) or shutil.which(command[0], path=str(Path(sys.executable).parent))
        if program is None:
            return None
        try:
            done = run_child([program, *command[1:]], timeout=timeout, errors_apart=False)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        lines = done.output[:4096].decode("utf-8", "replace").strip().splitlines()
        return "".join(c if c.isprintable() else "?" for c in lines[0])[:120] if lines else ""


def _by_socket(location: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"[0-9]+", location))
