"""From a board's identity to the port that it has at this moment.

Only what USB tells is used: the adapter's serial number, its socket, its vendor and product id. A
chip's MAC address or UID cannot be seen without opening the port and resetting the board, so they are
checked later, when the boot loader answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from serial.tools import list_ports as system_ports

from harness.errors import BenchFault
from harness.inventory.model import Board


@dataclass(frozen=True)
class Port:
    """One serial port as the system lists it now; text from USB descriptors, made printable."""

    device: str
    usb_serial: str | None
    usb_location: str | None
    vid_pid: str | None
    description: str

    def __str__(self) -> str:
        told = (("serial", self.usb_serial), ("location", self.usb_location), ("vid:pid", self.vid_pid))
        facts = ", ".join(f"{name} {value}" for name, value in told if value)
        return f"{self.device} ({facts or 'not a USB port'}; {self.description})"


def list_ports() -> list[Port]:
    """The ports plugged in now, by device name."""
    ports = []
    for info in system_ports.comports():
        vid_pid = f"{info.vid:04x}:{info.pid:04x}" if info.vid is not None and info.pid is not None else None
        ports.append(
            Port(
                device=info.device,
                usb_serial=_printable(info.serial_number),
                usb_location=_printable(info.location),
                vid_pid=vid_pid,
                description=_printable(info.description) or "no description",
            )
        )
    return sorted(ports, key=lambda port: port.device)


def candidates(board: Board, ports: list[Port] | None = None) -> list[Port]:
    """The ports that agree with all that USB can tell of ``board``.

    When its socket is empty, or something else is plugged in there, a serial number that is this board's own finds
    it in any other socket. All USB ports, when its identity is only a MAC or UID: the caller then has to ask each
    chip.
    """
    identity = board.identity
    if identity is None or identity.url or identity.port or identity.labgrid:
        return []
    alike = [
        port
        for port in (list_ports() if ports is None else ports)
        if port.vid_pid is not None
        and identity.usb_serial in (None, port.usb_serial)
        and (identity.vid_pid is None or port.vid_pid in (identity.vid_pid, *identity.also_vid_pid))
    ]
    wanted = identity.usb_location
    if wanted is None:
        return alike
    here = [port for port in alike if _same_location(wanted, port.usb_location)]
    if here or not own_serial(identity.usb_serial):
        return here
    if len({(port.usb_location or "").partition(":")[0] for port in alike}) > 1:
        return []  # two devices have it, so it is no proof
    interface = wanted.partition(":")[2]
    return [port for port in alike if not interface or (port.usb_location or "").endswith(f":{interface}")]


def own_serial(serial: str | None) -> bool:
    """Whether a serial number can be one board's own: adapters leave the factory with none, with 0001, 00000000 or
    FFFFFFFF, with digits in their order (12345678, 0123456789ABCDEF), and cloned ones with the same for all."""
    text = re.sub(r"[^0-9a-z]", "", (serial or "").lower())
    if len(set(text.strip("0"))) <= 1:
        return False
    return len(text) < 6 or not any(text in row for row in ("0123456789abcdef", "12345678901234567890"))


def find_port(board: Board) -> str:
    """The device name or pyserial URL of a real board, looked up anew at each call.

    Raises :class:`BenchFault`, listing what is plugged in, when no port or more than one agrees with
    the identity, when the identity has nothing that USB can tell, and for a virtual board.
    """
    identity = board.identity
    if identity is None:
        raise BenchFault(
            f"board {board.id!r} is virtual: it has a port only while it is up",
            hint="start it with 'harness virtual up'",
        )
    if identity.url or identity.port:
        return identity.url or identity.port or ""
    ports = list_ports()
    plugged = "".join(f"\n    {port}" for port in ports) or " no serial port at all"
    if not (identity.usb_serial or identity.usb_location or identity.vid_pid):
        raise BenchFault(
            f"board {board.id!r}: a MAC or UID alone does not say which port to open; plugged in:{plugged}",
            hint="add its usb_serial or usb_location to boards.yaml",
        )
    matching = candidates(board, ports)
    wanted = identity.model_dump(exclude_defaults=True, include={"usb_serial", "usb_location", "vid_pid"})
    if identity.vid_pid and identity.also_vid_pid:
        wanted["vid_pid"] = " or ".join((identity.vid_pid, *identity.also_vid_pid))
    wants = ", ".join(f"{key} {value}" for key, value in wanted.items())
    if not matching:
        raise BenchFault(
            f"board {board.id!r}: expected a port with {wants}; plugged in:{plugged}",
            hint="check the cable (some only charge) and the power, or correct the identity in boards.yaml",
        )
    if len(matching) > 1:
        several = "".join(f"\n    {port}" for port in matching)
        raise BenchFault(
            f"board {board.id!r}: {len(matching)} ports have {wants}:{several}",
            hint="add usb_location to its identity, which is different for each socket",
        )
    return matching[0].device


def _same_location(wanted: str, came: str | None) -> bool:
    """``1-1.3`` names the whole device, ``1-1.3:1.0`` one of its ports."""
    return came is not None and (wanted == came or wanted == came.partition(":")[0])


def _printable(text: str | None) -> str | None:
    return "".join(c if c.isprintable() else "?" for c in text)[:200] if text else None
