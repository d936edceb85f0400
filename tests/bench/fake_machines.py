"""Machines that are not there: sysfs and proc trees in the shape of real hubs, made below a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.bench.host_machine import Access, Machine


class FakeMachine(Machine):
    """Owners of files are given by name, because a test cannot make files of another user; so are its programs."""

    def __init__(self, root: Path, uid: int, gids: tuple[int, ...]) -> None:
        super().__init__(root, ids=(uid, frozenset(gids)))
        self.owners: dict[str, Access] = {}
        self.tools: dict[str, str] = {}
        self.free = 100 << 30

    def access(self, device: str) -> Access | None:
        return self.owners.get(device) or (Access(0o660, 0, 20, "dialout") if self.path(device).exists() else None)

    def tool(self, command: Sequence[str], *, timeout: float = 10.0) -> str | None:
        return self.tools.get(command[0])

    def free_bytes(self, folder: Path) -> int:
        return self.free


class Tree:
    """A root folder that is filled device by device, in the layout of Linux's /sys/bus/usb/devices."""

    def __init__(self, root: Path, *, uid: int = 1000, gids: tuple[int, ...] = (1000,)) -> None:
        self.root = root
        self.machine = FakeMachine(root, uid, gids)
        self._numbers: dict[str, int] = {}
        self.write("etc/group", "root:x:0:\ndialout:x:20:\nplugdev:x:46:\nuser:x:1000:\n")
        (root / "sys/bus/usb/devices").mkdir(parents=True)

    def write(self, name: str, text: str) -> Path:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def hub(self, location: str, vid_pid: str, ports: int, product: str = "USB2.0 Hub") -> None:
        self.device(location, vid_pid, product=product)
        self._fact(location, "maxchild", str(ports))
        self._fact(location, "bDeviceClass", "09")

    def device(self, location: str, vid_pid: str, *, serial: str = "", product: str = "", power: str = "on") -> None:
        bus = location.removeprefix("usb").partition("-")[0]
        self._numbers[bus] = number = self._numbers.get(bus, 0) + 1
        vid, pid = vid_pid.split(":")
        facts = {"idVendor": vid, "idProduct": pid, "busnum": bus, "devnum": str(number), "maxchild": "0"}
        for name, text in {**facts, "serial": serial, "product": product, "power/control": power}.items():
            if text:
                self._fact(location, name, text)

    def adapter(self, location: str, vid_pid: str, *ttys: str, serial: str = "", product: str = "") -> None:
        """USB serial adapter: the tty stands in the interface's own folder."""
        self.device(location, vid_pid, serial=serial, product=product)
        for number, tty in enumerate(ttys):
            (self._folder(location) / f"{location}:1.{number}" / tty).mkdir(parents=True)
            self.write(f"dev/{tty}", "")

    def acm(self, location: str, vid_pid: str, tty: str, *, serial: str = "", product: str = "") -> None:
        """CDC-ACM: the control interface has the folder ``tty``, the data interface nothing."""
        self.device(location, vid_pid, serial=serial, product=product)
        (self._folder(location) / f"{location}:1.0" / "tty" / tty).mkdir(parents=True)
        (self._folder(location) / f"{location}:1.1").mkdir()
        self.write(f"dev/{tty}", "")

    def process(self, pid: int, name: str) -> None:
        self.write(f"proc/{pid}/comm", name + "\n")

    def unplug(self, location: str) -> None:
        import shutil

        shutil.rmtree(self._folder(location))

    def _folder(self, location: str) -> Path:
        return self.root / "sys/bus/usb/devices" / location

    def _fact(self, location: str, name: str, text: str) -> None:
        self.write(f"sys/bus/usb/devices/{location}/{name}", text + "\n")


def raspberry_pi(root: Path) -> Tree:
    """Raspberry Pi 4: one VIA hub behind the controller; two CP2102 with the factory's serial, one CH340."""
    tree = Tree(root)
    tree.hub("usb1", "1d6b:0002", 1, "xHCI Host Controller")
    tree.hub("1-1", "2109:3431", 4)
    tree.adapter("1-1.2", "10c4:ea60", "ttyUSB1", serial="0001", product="CP2102 USB to UART Bridge Controller")
    tree.adapter("1-1.3", "10c4:ea60", "ttyUSB0", serial="0001", product="CP2102 USB to UART Bridge Controller")
    tree.adapter("1-1.4", "1a86:7523", "ttyUSB2", product="USB Serial")
    tree.hub("usb2", "1d6b:0003", 4, "xHCI Host Controller")
    return tree


def seven_port_hub(root: Path) -> Tree:
    """A seven-port hub, which is two four-port ones in a row; FTDI with two ports, an S3 with native USB."""
    tree = Tree(root)
    tree.hub("usb3", "1d6b:0002", 12)
    tree.hub("3-2", "1a40:0201", 4)
    tree.hub("3-2.4", "1a40:0101", 4)
    tree.adapter("3-2.1", "0403:6010", "ttyUSB4", "ttyUSB5", serial="FT4ABCDE", product="Dual RS232-HS")
    tree.acm("3-2.4.1", "303a:4001", "ttyACM0", serial="24587cd3e8100000", product="Espressif Device")
    tree.device("3-2.4.2", "046d:c31c", product="USB Keyboard")
    return tree


def stm32_bench(root: Path) -> Tree:
    """A Realtek hub with a Nucleo (ST-LINK/V2-1), a bare ST-LINK/V2, and a board in the ROM's DFU mode."""
    tree = Tree(root)
    tree.hub("usb1", "1d6b:0002", 16)
    tree.hub("1-4", "0bda:5411", 4, "4-Port USB 2.0 Hub")
    tree.acm("1-4.1", "0483:374b", "ttyACM1", serial="0667FF535550755187123456", product="STM32 STLink")
    tree.device("1-4.2", "0483:3748", serial="3A0010002D135937", product="STM32 STLink")
    tree.device("1-4.3", "0483:df11", serial="377A36753036", product="STM32  BOOTLOADER")
    return tree
