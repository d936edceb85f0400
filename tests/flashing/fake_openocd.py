"""A program that answers as OpenOCD does to the commands the harness gives it, with the memory of a chip in files."""

import os
import re
import sys
from pathlib import Path

BASE = 0x0800_0000


def main() -> int:
    folder = Path(os.environ["FAKE_OPENOCD"])
    arguments = list(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    commands = [value for option, value in arguments if option == "-c"]
    with (folder / "log").open("a") as log:
        log.write(" ; ".join(commands) + "\n")
    print("Open On-Chip Debugger 0.12.0", file=sys.stderr)
    if [value for option, value in arguments if option == "-f"] != ["interface/stlink.cfg", "target/stm32f4x.cfg"]:
        print("Error: Can't find a configuration file", file=sys.stderr)
        return 1
    if (folder / "unplugged").exists():
        print("Error: open failed", file=sys.stderr)
        return 1
    flash = bytearray((folder / "flash").read_bytes())
    memory = {
        0xE0042000: (0x1007_0000 | int((folder / "id").read_text(), 16)).to_bytes(4, "little"),
        0x1FFF7A10: bytes(range(1, 13)),
        0x1FFF7A20: b"\xff\xff" + (1024).to_bytes(2, "little"),
    }
    for command in commands:
        if match := re.fullmatch(r"mdw 0x([0-9a-f]+)", command):
            address = int(match[1], 16)
            print(f"0x{address:08x}: {int.from_bytes(memory[address], 'little'):08x} ", file=sys.stderr)
        elif match := re.fullmatch(r"dump_image \{(.+)\} 0x([0-9a-f]+) (\d+)", command):
            address, size = int(match[2], 16), int(match[3])
            content = memory.get(address) or flash[address - BASE : address - BASE + size]
            Path(match[1]).write_bytes(bytes(content))
        elif match := re.fullmatch(r"program \{(.+)\} verify 0x([0-9a-f]+)", command):
            data, start = Path(match[1]).read_bytes(), int(match[2], 16) - BASE
            if (folder / "protected").exists():
                print("Error: failed erasing sectors 0 to 0\n** Programming Failed **", file=sys.stderr)
                return 1
            flash[start : start + len(data)] = data
            (folder / "flash").write_bytes(flash)
        elif command not in ("init", "reset halt", "reset run", "exit", "adapter serial 0667FF"):
            print(f'Error: invalid command name "{command}"', file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
