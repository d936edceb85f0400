"""A program that answers as picotool(1) does, for a board that a test plays: ``FAKE_PICO`` is its TCP port.

picotool's README: ``load [-v] FILE``, ``verify FILE``, ``reboot``; the kind of a file is told by the end of its name,
and all of them need a device in BOOTSEL mode.
"""

import os
import socket
import sys
from pathlib import Path


def main() -> int:
    what, *rest = sys.argv[1:]
    file = next((argument for argument in rest if not argument.startswith("-")), "")
    if file and Path(file).suffix not in (".uf2", ".elf", ".bin"):
        print(f"ERROR: Can't determine file type of {file}", file=sys.stderr)
        return 254
    data = Path(file).read_bytes() if file else b""
    with socket.create_connection(("127.0.0.1", int(os.environ["FAKE_PICO"]))) as line:
        line.sendall(f"{what} {len(data)} {Path(file).suffix}\n".encode() + data)
        answer = line.makefile().readline().strip()
    if answer == "nobody":
        print("No accessible RP2040 devices in BOOTSEL mode were found.")
        return 249
    print(answer)
    return 0 if answer == "OK" else 1


if __name__ == "__main__":
    sys.exit(main())
