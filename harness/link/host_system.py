"""What differs from system to system about serial ports: names, who may open one, who has it, how a tool is installed.

All of it stands here. Linux: udev(7); the group of a port's device file is dialout on Debian and its kin, uucp on Arch.
macOS: ``tty(4)``: opening ``/dev/tty.NAME`` waits for a carrier that no board gives, ``/dev/cu.NAME`` (call-out) does
not; device files may be used by all. Tried on Linux alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.children import run_child

#: How long ``lsof`` may take, in seconds.
_PATIENCE = 5.0
_MODEM_MANAGER = (
    "ModemManager asks new ports whether they are modems: sudo systemctl disable --now ModemManager, or the udev rule "
    "that 'harness doctor' shows; then unplug the board and plug it in again"
)
#: What a program that has the port is, and what to do about it, by how its name begins.
_HOLDERS = {
    "ModemManager": _MODEM_MANAGER,
    "brltty": "brltty takes adapters for braille displays: sudo apt remove brltty (unless someone reads braille here)",
}
_ANY_HOLDER = "close the program that has it open (a terminal, an IDE, ModemManager)"


@dataclass(frozen=True)
class HostSystem:
    """One system. ``callout`` gives the name under which a port is opened, ``holder`` the (name, process id) of who has
    it, ``no_permission`` what to try when it may not be opened, ``packages`` the names of tools that are not those of
    Debian; ``install`` is followed by one."""

    name: str
    install: str
    holder: Callable[[str], tuple[str, str] | None]
    no_permission: Callable[[str], str]
    callout: Callable[[str], str] = str
    packages: Mapping[str, str] | None = None
    #: Whether its kernel suspends idle USB devices, and ModemManager and brltty may be there (Linux).
    has_udev: bool = False

    def install_command(self, package: str) -> str:
        return f"{self.install} {(self.packages or {}).get(package, package)}"


def this_system() -> HostSystem:
    """The one that this process runs on; what is neither Linux nor macOS is asked as Linux is."""
    return MACOS if sys.platform == "darwin" else LINUX


def busy_hint(holder: str) -> str:
    """What to try when a program of that name has the port; "": it is not known."""
    return next((hint for name, hint in _HOLDERS.items() if holder.startswith(name)), _ANY_HOLDER)


def _by_proc(address: str) -> tuple[str, str] | None:
    """As far as /proc shows it: other users' processes are hidden there."""
    try:
        target = Path(address).resolve()
        for process in Path("/proc").glob("[0-9]*"):
            if process.name == str(os.getpid()):
                continue
            try:
                if any(handle.resolve() == target for handle in (process / "fd").iterdir()):
                    return (process / "comm").read_text().strip(), process.name
            except OSError:
                continue
    except OSError:
        pass
    return None


def _by_lsof(address: str) -> tuple[str, str] | None:
    """``lsof -F pc``: a line ``p`` with the process's number, then one ``c`` with its name (lsof(8), "Output for other
    programs")."""
    if shutil.which("lsof") is None:
        return None
    try:
        said = run_child(["lsof", "-F", "pc", address], timeout=_PATIENCE).output.decode("utf-8", "replace")
    except (OSError, subprocess.TimeoutExpired):
        return None
    number = ""
    for line in said.splitlines():
        if line.startswith("p"):
            number = line[1:]
        elif line.startswith("c") and number != str(os.getpid()):
            return line[1:], number
    return None


def _group_hint(address: str) -> str:
    import grp
    import pwd

    try:
        status = Path(address).stat()
        owners = grp.getgrgid(status.st_gid)
        user = pwd.getpwuid(os.getuid()).pw_name
    except (OSError, KeyError):
        return "add yourself to the group that owns it (often dialout or uucp) and log in again"
    group = owners.gr_name
    if status.st_mode & 0o060 != 0o060 or status.st_gid == 0:
        return f"only root may open it: 'harness doctor' shows a udev rule that gives it to a group (now: {group})"
    if user in owners.gr_mem:
        return f"you are in the group {group}, but were not when you logged in: log out and in again"
    return f"sudo usermod -aG {group} {user}, then log out and in again ('harness doctor' looks at it too)"


def _callout_name(address: str) -> str:
    return address.replace("/dev/tty.", "/dev/cu.", 1) if address.startswith("/dev/tty.") else address


def _macos_permission(address: str) -> str:
    return f"ls -l {address} says who may; ports of USB adapters are open to all, unless an older driver is installed"


LINUX = HostSystem("Linux", "sudo apt install", _by_proc, _group_hint, has_udev=True)
MACOS = HostSystem(
    "macOS",
    "brew install",
    _by_lsof,
    _macos_permission,
    _callout_name,
    {"openocd": "open-ocd", "qemu-system-arm": "qemu"},
)
