"""``harness doctor``: what on this machine is in the way of a bench, and the command that mends it.

A check is a function from :class:`Patient` to findings; the list ``CHECKS`` is all there is. None of them opens a
port or changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.bench.finding import Finding, Severity
from harness.bench.host_machine import Machine, UsbDevice
from harness.bench.known_facts import known_store
from harness.bench.lab_device import LabDevice
from harness.bench.plugged import Plugged, plugged_in
from harness.errors import HarnessError
from harness.inventory.discover import Port, candidates, own_serial
from harness.inventory.model import Bench, Board
from harness.link.host_system import this_system
from harness.reference.engine.prepare import is_prepared
from harness.reference.engine.vm_cache import cache_dir

_MB = 1024 * 1024


@dataclass(frozen=True)
class Patient:
    """A machine and the bench on it; ``bench`` is None where there is no bench file. ``user`` is a login name."""

    machine: Machine
    bench: Bench | None
    state: Path
    user: str

    @cached_property
    def devices(self) -> list[UsbDevice]:
        return self.machine.usb_devices()

    @cached_property
    def seen(self) -> list[Plugged]:
        return plugged_in(self.machine)

    @cached_property
    def ports(self) -> list[Port]:
        return self.ports_now()

    def ports_now(self) -> list[Port]:
        """The ports as they are at this moment, and not when the examination began."""
        return [
            Port(plug.port, plug.usb_serial or None, plug.usb_location, plug.vid_pid, plug.product)
            for plug in plugged_in(self.machine)
            if plug.port
        ]

    @property
    def real_boards(self) -> list[Board]:
        return [board for board in self.bench.boards if board.identity is not None] if self.bench else []

    def file_of(self, plug: Plugged) -> str:
        """The device file that is opened for it: a serial port's own, or its USB node."""
        place = plug.usb_location.partition(":")[0]
        node = next((device.bus_file for device in self.devices if device.location == place), "")
        return plug.port or node


def examine(patient: Patient) -> list[Finding]:
    """All findings, in the order of the checks."""
    return [finding for check in CHECKS for finding in check(patient)]


def _permissions(patient: Patient) -> Iterator[Finding]:
    machine = patient.machine
    if not patient.seen:
        no_sysfs = this_system().has_udev and not machine.has_usb
        where = " (this system shows no USB at all: a container without the host's /sys?)" if no_sysfs else ""
        yield Finding("permissions", "note", f"nothing is plugged in that looks like a board{where}")
    denied: dict[str, list[str]] = {}
    usable = 0
    for plug in patient.seen:
        file = patient.file_of(plug)
        access = machine.access(file) if file else None
        if access is None:
            continue
        if machine.may_use(access):
            usable += 1
        elif plug.port and access.mode >> 3 & 0o6 == 0o6 and access.gid != 0:
            denied.setdefault(access.group, []).append(file)
        else:
            yield Finding(
                "permissions",
                "problem",
                f"{file} ({plug.what}) may be used by root alone",
                _rule_for(plug.vid_pid),
            )
    for group, files in denied.items():
        if patient.user in machine.group_members(group):
            yield Finding(
                "permissions",
                "problem",
                f"{', '.join(files)}: you are in the group {group}, but were not when you logged in",
                "log out and in again (a container or service: restart it)",
            )
        else:
            yield Finding(
                "permissions",
                "problem",
                f"{', '.join(files)}: only the group {group} may open it, and you are not in it",
                f"sudo usermod -aG {group} {patient.user}, then log out and in again",
            )
    if usable and not denied:
        yield Finding("permissions", "ok", f"{usable} device{'s' if usable > 1 else ''} can be opened")


def _rule_for(vid_pid: str) -> str:
    vid, pid = vid_pid.split(":")
    return (
        f'echo \'SUBSYSTEM=="usb", ATTR{{idVendor}}=="{vid}", ATTR{{idProduct}}=="{pid}", MODE="0660", '
        'GROUP="plugdev", TAG+="uaccess"\' | sudo tee /etc/udev/rules.d/70-harness-'
        f"{vid}-{pid}.rules && sudo udevadm control --reload && sudo udevadm trigger"
    )


def _modem_manager(patient: Patient) -> Iterator[Finding]:
    """It sends AT commands to every new serial port that it does not know (ModemManager documentation, "Port and
    device detection")."""
    names = patient.machine.processes().values()
    if not any(name.startswith("ModemManager") for name in names):
        yield Finding("ModemManager", "ok", "does not run")
        return
    rules = [line for line in patient.machine.udev_rules().splitlines() if "ID_MM_DEVICE_IGNORE" in line]
    open_to_it = sorted(
        {plug.vid_pid for plug in patient.seen if plug.port and not any(_names(line, plug.vid_pid) for line in rules)}
    )
    if open_to_it:
        vid, pid = open_to_it[0].split(":")
        yield Finding(
            "ModemManager",
            "warning",
            f"runs, and may write to new ports of {', '.join(open_to_it)}",
            "sudo systemctl disable --now ModemManager; or a udev rule for each: "
            f'ATTRS{{idVendor}}=="{vid}", ATTRS{{idProduct}}=="{pid}", ENV{{ID_MM_DEVICE_IGNORE}}="1"',
        )
    else:
        yield Finding("ModemManager", "note" if not patient.seen else "ok", "runs, and no board's port is open to it")


def _names(rule: str, vid_pid: str) -> bool:
    """Whether a udev rule speaks of these ids: ATTRS{idVendor}=="10c4", or all products of the vendor."""
    vid, pid = vid_pid.split(":")
    rule = rule.lower()
    return f'"{vid}"' in rule and (f'"{pid}"' in rule or "idproduct" not in rule)


def _brltty(patient: Patient) -> Iterator[Finding]:
    """It takes CH340 and CP210x adapters for braille displays and holds their ports (Ubuntu bug 1958224)."""
    runs = "brltty" in patient.machine.processes().values()
    rules = patient.machine.udev_rules()
    claimed = [
        plug
        for plug in patient.seen
        if any("brltty" in line.lower() and _claims(line, plug.vid_pid) for line in rules.splitlines())
    ]
    fix = "sudo apt remove brltty (unless someone reads braille here)"
    for plug in claimed:
        yield Finding(
            "brltty", "problem", f"its udev rules claim {plug.vid_pid} ({plug.what}) at {plug.usb_location}", fix
        )
    if runs and not claimed:
        yield Finding("brltty", "note", "runs; its rules claim nothing that is plugged in", fix)
    if not runs and not claimed:
        yield Finding("brltty", "ok", "claims nothing that is plugged in")


def _claims(rule: str, vid_pid: str) -> bool:
    """brltty's rules have ENV{PRODUCT}=="1a86/7523/*", older ones ATTRS{idVendor}; leading zeros are left out."""
    vid, pid = (text.lstrip("0") for text in vid_pid.split(":"))
    return f"{vid}/{pid}/" in rule.lower() or _names(rule, vid_pid)


def _autosuspend(patient: Patient) -> Iterator[Finding]:
    """The kernel suspends idle devices whose power/control is "auto" (Linux Documentation/driver-api/usb/
    power-management.rst); some adapters lose bytes on the way back."""
    places = {plug.usb_location.partition(":")[0] for plug in patient.seen}
    sleepy = [device for device in patient.devices if device.location in places and device.power_control == "auto"]
    for device in sleepy:
        vid, pid = device.vid_pid.split(":")
        yield Finding(
            "autosuspend",
            "warning",
            f"{device.location} ({device.product or device.vid_pid}) may be suspended when idle",
            f'echo \'ACTION=="add", SUBSYSTEM=="usb", ATTR{{idVendor}}=="{vid}", ATTR{{idProduct}}=="{pid}", '
            f'ATTR{{power/control}}="on"\' | sudo tee /etc/udev/rules.d/71-harness-awake-{vid}-{pid}.rules; '
            f"until it is plugged in again: echo on | sudo tee /sys/bus/usb/devices/{device.location}/power/control",
        )
    if places and not sleepy and this_system().has_udev:
        yield Finding("autosuspend", "ok", "off for all that is plugged in")


def _identities(patient: Patient) -> Iterator[Finding]:
    shared = [plug for plug in patient.seen if plug.shared_serial]
    for serial in sorted({plug.usb_serial for plug in shared}):
        places = ", ".join(plug.usb_location for plug in shared if plug.usb_serial == serial)
        yield Finding(
            "identities",
            "note",
            f"serial number {serial!r} is at {places}",
            "give each of these boards its usb_location (harness discover --write does)",
        )
    for board in patient.real_boards:
        identity = board.identity
        assert identity is not None
        if identity.url or identity.port or identity.labgrid:
            continue
        told_by_usb = identity.usb_serial or identity.usb_location or identity.vid_pid
        ports = candidates(board, patient.ports) if told_by_usb else []
        if not told_by_usb:
            yield Finding(
                "identities",
                "problem",
                f"{board.id}: a MAC or UID alone does not say which port to open",
                "add its usb_serial or usb_location (harness discover)",
            )
        elif len(ports) > 1:
            yield Finding(
                "identities",
                "problem",
                f"{board.id}: {', '.join(port.device for port in ports)} all fit its identity",
                "add its usb_location (harness discover)",
            )
        elif not ports:
            yield Finding("identities", "warning", f"{board.id} is not plugged in", "check cable and power")
        elif not own_serial(identity.usb_serial) and not identity.usb_location:
            yield Finding(
                "identities",
                "warning",
                f"{board.id}: any other board of its kind would be taken for it",
                f"add usb_location: {ports[0].usb_location}",
            )
        else:
            yield Finding("identities", "ok", f"{board.id} is at {ports[0].device}")


def _labs(patient: Patient) -> Iterator[Finding]:
    """A list of the lab's places is all that is asked for: nothing is acquired."""
    for board in patient.real_boards:
        place = board.identity.labgrid if board.identity else None
        if place is None:
            continue
        device = LabDevice(board)
        where, state = device.whereabouts()
        try:
            known = device.fitting()
        except HarnessError as problem:
            yield Finding("lab", "problem", f"{board.id}: {problem.message}", problem.hint)
            continue
        if not known:
            fix = "labgrid-client places lists them; correct identity.labgrid in boards.yaml"
            yield Finding("lab", "problem", f"{board.id}: {where}: {state}", fix)
        elif device.holder:
            yield Finding("lab", "note", f"{board.id}: {where}: held by {device.holder}")
        else:
            yield Finding("lab", "ok", f"{board.id}: {where}: {state}")


def _control_lines(patient: Patient) -> Iterator[Finding]:
    """DTR and RTS end at a pseudo-terminal and at a raw socket; RFC 2217 carries them."""
    for board in patient.real_boards:
        identity = board.identity
        assert identity is not None
        bare = (identity.url or "").startswith("socket://") or (identity.port or "").startswith("/dev/pts/")
        if bare and board.reset.method != "none":
            yield Finding(
                "control lines",
                "warning",
                f"{board.id}: {identity.url or identity.port} carries no DTR and RTS, and reset.method is "
                f"{board.reset.method}",
                "serve the port by RFC 2217 instead (ser2net: telnet,rfc2217), or say 'reset: {method: none}'",
            )


def _flash_stores(patient: Patient) -> Iterator[Finding]:
    """What was found when each board was last made ready: no board is asked here."""
    for board in patient.bench.boards if patient.bench else ():
        store = known_store(patient.state, board.id)
        if store is not None and store.problem:
            yield Finding("LFS", "warning", f"{board.id}: {store.problem}", store.hint)


def _disk(patient: Patient) -> Iterator[Finding]:
    places: dict[str, Callable[[], Path]] = {
        "results and transcripts": lambda: patient.state,
        "the cache": cache_dir,  # makes the folder, and so can fail
    }
    for what, folder in places.items():
        try:
            free = patient.machine.free_bytes(folder()) // _MB
        except OSError as problem:
            yield Finding("disk", "problem", f"no room for {what}: {problem}")
            continue
        severity: Severity = "problem" if free < 100 else "warning" if free < 1024 else "ok"
        fix = "" if severity == "ok" else f"df -h {folder()}; old transcripts and results are in {patient.state}"
        yield Finding("disk", severity, f"{free} MB free for {what}", fix)


def _reference(patient: Patient) -> Iterator[Finding]:
    try:
        ready = is_prepared()
    except OSError as problem:
        yield Finding(
            "reference VM", "problem", f"the cache cannot be used: {problem}", "set HARNESS_CACHE to a folder"
        )
        return
    if ready:
        yield Finding("reference VM", "ok", "is prepared")
    else:
        yield Finding(
            "reference VM",
            "note",
            "is not prepared yet; the first run does it, and needs the network then",
            "harness run; without a network set HARNESS_CACHE to a copy of another machine's cache folder",
        )


#: Commands that print a version, and what needs each.
_TOOLS = (
    (("esptool", "version"), "esptool"),
    (("stm32loader", "--version"), "stm32-uart"),
    (("dfu-util", "--version"), "dfu"),
    (("pyocd", "--version"), "swd"),
    (("openocd", "--version"), "swd"),
    (("uhubctl", "--version"), "uhubctl"),
    (("gpioset", "--version"), "gpio"),
    (("qemu-system-arm", "--version"), "emulated boards"),
)
_PACKAGES = {
    "dfu-util": "dfu-util",
    "openocd": "openocd",
    "uhubctl": "uhubctl",
    "gpioset": "gpiod",
    "qemu-system-arm": "qemu-system-arm",
}


def _tools(patient: Patient) -> Iterator[Finding]:
    needed = {board.flash_method for board in patient.real_boards}
    needed |= {board.power.method for board in patient.real_boards}
    versions = {command[0]: patient.machine.tool(command) for command, _ in _TOOLS}
    for command, purpose in _TOOLS:
        name = command[0]
        version = versions[name]
        if version is not None:
            yield Finding("tools", "ok", f"{name}: {version or 'installed, but does not tell its version'}")
            continue
        # Either of two probe programs is enough.
        other = {"pyocd": "openocd", "openocd": "pyocd"}.get(name, "")
        wanted = purpose in needed and versions.get(other) is None
        use = purpose if purpose == "emulated boards" else f"boards with method: {purpose}"
        package = _PACKAGES.get(name)
        fix = this_system().install_command(package) if package else f"pip install {name}"
        yield Finding(
            "tools",
            "problem" if wanted else "note",
            f"{name} is not installed; " + (f"the bench needs it for {use}" if wanted else f"only for {use}"),
            fix,
        )


CHECKS: tuple[Callable[[Patient], Iterator[Finding]], ...] = (
    _permissions,
    _modem_manager,
    _brltty,
    _autosuspend,
    _identities,
    _labs,
    _control_lines,
    _flash_stores,
    _tools,
    _disk,
    _reference,
)
