"""A program that answers as dfu-util(1) does, with the flash of its devices in files.

Its folder (``FAKE_DFU``) has one folder for each device, named by its USB path, with ``serial``, ``memory`` (the string
of alternate setting 0) and ``flash``. What it was asked is added to ``log``.
"""

import os
import re
import sys
from pathlib import Path

BASE = 0x0800_0000
UNITS = {"B": 1, " ": 1, "K": 1024, "M": 1024 * 1024}


def sectors(memory: str) -> list[tuple[int, int]]:
    at, found = BASE, []
    for count, size, unit in re.findall(r"(\d+)\*(\d+)([ BKM])[a-g]", memory):
        for _ in range(int(count)):
            found.append((at, int(size) * UNITS[unit]))
            at += found[-1][1]
    return found


def main() -> int:
    folder = Path(os.environ["FAKE_DFU"])
    arguments = sys.argv[1:]
    with (folder / "log").open("a") as log:
        log.write(" ".join(arguments) + "\n")
    devices = sorted(one for one in folder.iterdir() if (one / "memory").is_file())
    print("dfu-util 0.11\n\nCopyright 2005-2009 Weston Schmidt, Harald Welte and OpenMoko Inc.\n")
    if "-l" in arguments:
        for number, device in enumerate(devices):
            memory, serial = (device / "memory").read_text(), (device / "serial").read_text()
            alternates = [(1, "@Option Bytes  /0x1FFFC000/01*016 e"), (0, memory)]
            for alt, name in alternates:
                print(
                    f"Found DFU: [0483:df11] ver=2200, devnum={number + 5}, cfg=1, intf=0, "
                    f'path="{device.name}", alt={alt}, name="{name}", serial="{serial}"'
                )
        print('Found Runtime: [1d50:6018] ver=0100, devnum=3, cfg=1, intf=4, path="9-9", alt=0, name="x", serial="y"')
        return 0
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert options["-d"] == "0483:df11"
    assert options["-a"] == "0"
    device = folder / options["-p"]
    if not device.is_dir():
        print("dfu-util: No DFU capable USB device available", file=sys.stderr)
        return 74
    where, *words = options["-s"].split(":")
    address = int(where, 16)
    flash = bytearray((device / "flash").read_bytes())
    if "-U" in options:
        Path(options["-U"]).write_bytes(flash[address - BASE : address - BASE + int(words.pop(0))])
    else:
        data = Path(options["-D"]).read_bytes()
        for start, size in sectors((device / "memory").read_text()):
            if start < address + len(data) and address < start + size:
                flash[start - BASE : start - BASE + size] = b"\xff" * size
        if (device / "dies").exists():
            (device / "flash").write_bytes(flash)
            print("dfu-util: Error during download (LIBUSB_ERROR_PIPE)", file=sys.stderr)
            return 74
        flash[address - BASE : address - BASE + len(data)] = data
        (device / "flash").write_bytes(flash)
    if words == ["leave"]:
        device.rename(device.with_name("left"))
        (device.with_name("left") / "memory").rename(device.with_name("left") / "memory.away")
        print("dfu-util: Error during download get_status", file=sys.stderr)
        return 74
    return 0


if __name__ == "__main__":
    sys.exit(main())
