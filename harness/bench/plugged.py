"""What is plugged in: ports, boot loaders waiting on USB, debug probes. Nothing is opened to find out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.bench.host_machine import Machine, UsbDevice
from harness.inventory.discover import list_ports, own_serial

Kind = Literal["port", "dfu", "probe"]

#: Vendor and product ids as in the USB ID Repository and the vendors' own udev rules.
_DFU = {
    "0483:df11": "STM32 ROM boot loader (DFU)",
    "303a:0002": "ESP32-S2 ROM boot loader (USB OTG)",
    "303a:0009": "ESP32-S3 ROM boot loader (USB OTG)",
}
_PROBES = {
    "0483:3744": "ST-LINK/V1",
    "0483:3748": "ST-LINK/V2",
    "0483:374b": "ST-LINK/V2-1",
    "0483:3752": "ST-LINK/V2-1",
    "0483:374d": "ST-LINK/V3 (boot loader)",
    "0483:374e": "ST-LINK/V3E",
    "0483:374f": "ST-LINK/V3S",
    "0483:3753": "ST-LINK/V3 (two serial ports)",
    "0483:3754": "ST-LINK/V3 (without storage)",
    "0483:3757": "ST-LINK/V3PWR",
    "0d28:0204": "CMSIS-DAP",
    "2e8a:000c": "Raspberry Pi Debug Probe",
}
#: The adapters that boards carry, and chips that are their own.
_ADAPTERS = {
    "10c4:ea60": "CP210x",
    "1a86:7523": "CH340",
    "1a86:55d4": "CH9102",
    "1a86:55d3": "CH343",
    "0403:6001": "FT232R",
    "0403:6010": "FT2232H",
    "0403:6014": "FT232H",
    "0403:6015": "FT231X",
    "067b:2303": "PL2303",
    "303a:1001": "ESP32 USB Serial/JTAG",
    "303a:4001": "ESP32-S3 native USB",
    "0483:5740": "STM32 virtual COM port (MicroPython among others)",
    "f055:9800": "MicroPython on STM32, native USB",
}
#: A chip's own USB that resets it by DTR and RTS, in a sequence of its own (esptool ``USBJTAGSerialReset``).
USB_JTAG = "303a:1001"
#: Vendors whose serial ports are the chip's own USB: Espressif, MicroPython, Adafruit, Raspberry Pi, Arduino.
_NATIVE = ("303a", "f055", "239a", "2e8a", "2341")
#: The same of a vendor whose debug probes have ports that stay.
_NATIVE_PRODUCTS = ("0483:5740",)


@dataclass(frozen=True)
class Plugged:
    """One thing that may be a board, or a way to one. Text from USB descriptors is untrusted, and printable here.

    ``port`` is its serial device now, empty when it has none. ``shared_serial``: another one plugged in has the
    same serial number and product id, so that only the socket tells them apart.
    """

    kind: Kind
    port: str
    vid_pid: str
    usb_serial: str
    usb_location: str
    product: str
    what: str
    shared_serial: bool = False

    @property
    def identity(self) -> dict[str, str]:
        """What boards.yaml needs to find it again: the serial number where it is its own, else the socket.

        A port that USB does not know (a UART of the machine, a pty, a port on another machine) has its name only.
        """
        if not self.vid_pid:
            return {"url" if "://" in self.port else "port": self.port}
        identity = {"usb_serial": self.usb_serial} if self.usb_serial else {}
        if self._doubtful or ":" in self.usb_location:
            identity["usb_location"] = self.usb_location
        return {**identity, "vid_pid": self.vid_pid}

    @property
    def native_usb(self) -> bool:
        """Whether the port is the chip's own USB, and goes when the chip is reset."""
        own = self.vid_pid.partition(":")[0] in _NATIVE or self.vid_pid in _NATIVE_PRODUCTS
        return self.kind == "port" and own

    @property
    def _doubtful(self) -> bool:
        return self.shared_serial or not own_serial(self.usb_serial)


def plugged_in(machine: Machine) -> list[Plugged]:
    """All serial ports on USB, boot loaders and debug probes, in the order of their sockets.

    Read from sysfs; where there is none (macOS, Windows) from pyserial's list, which shows ports alone.
    """
    devices = machine.usb_devices() if machine.has_usb else _by_pyserial()
    plugs = [plug for device in devices for plug in _seen(device)]
    serials = [(plug.usb_serial, plug.vid_pid, plug.usb_location.partition(":")[0]) for plug in plugs]

    def shared(plug: Plugged) -> bool:
        place = plug.usb_location.partition(":")[0]
        return bool(plug.usb_serial) and any(
            s == plug.usb_serial and v == plug.vid_pid and where != place for s, v, where in serials
        )

    return [Plugged(**{**vars(plug), "shared_serial": shared(plug)}) for plug in plugs]


def _seen(device: UsbDevice) -> list[Plugged]:
    def entry(kind: Kind, what: str, port: str = "", location: str = "") -> Plugged:
        return Plugged(kind, port, device.vid_pid, device.serial, location or device.location, device.product, what)

    # An adapter with several ports has one serial number for all: the interface tells them apart.
    ports = [(port, interface if len(device.ports) > 1 else device.location) for port, interface in device.ports]
    if device.vid_pid in _DFU:
        return [entry("dfu", _DFU[device.vid_pid])]
    if device.vid_pid in _PROBES:
        probe = _PROBES[device.vid_pid]
        return [entry("probe", f"{probe}, the board's console", *port) for port in ports] or [entry("probe", probe)]
    name = _ADAPTERS.get(device.vid_pid) or device.product or "USB serial"
    return [entry("port", name, *port) for port in ports]


def _by_pyserial() -> list[UsbDevice]:
    return [
        UsbDevice(
            location=port.usb_location or "",
            vid_pid=port.vid_pid,
            serial=port.usb_serial or "",
            product=port.description,
            ports=((port.device, port.usb_location or ""),),
        )
        for port in list_ports()
        if port.vid_pid is not None
    ]
