"""``python -m harness.virtual.dfu_util FOLDER …``: dfu-util(1) for the virtual STM32 boards whose state is in FOLDER.

It takes the options that the harness gives to dfu-util and answers as that does. As ``dfu-util`` in the PATH it makes
``flash.method: dfu`` work with a virtual board::

    #!/bin/sh
    exec python -m harness.virtual.dfu_util .harness/virtual "$@"
"""

from __future__ import annotations

import sys
from pathlib import Path

from harness.errors import HarnessError
from harness.virtual.bench import RunningBoard, running

_NO_DEVICE = 74


def _devices(folder: Path) -> dict[str, tuple[RunningBoard, str, str]]:
    """Boards in their boot loader, by the USB path that stands for each: with memory layout and serial number."""
    found = {}
    for number, board in enumerate(running(folder).values(), 1):
        if state := board.dfu():
            found[f"1-{number}"] = (board, state["memory"], state["serial"])
    return found


def _list(devices: dict[str, tuple[RunningBoard, str, str]]) -> None:
    print("dfu-util 0.11\n")
    for number, (path, (_, memory, serial)) in enumerate(devices.items(), 5):
        print(
            f'Found DFU: [0483:df11] ver=2200, devnum={number}, cfg=1, intf=0, path="{path}", alt=0, '
            f'name="{memory}", serial="{serial}"'
        )


def main(arguments: list[str]) -> int:
    """The exit code: 0, or 74 as dfu-util has it, with the reason on the error output."""
    folder, *rest = arguments
    devices = _devices(Path(folder))
    if "-l" in rest:
        _list(devices)
        return 0
    options = dict(zip(rest[::2], rest[1::2], strict=True))
    if options["-p"] not in devices or options.get("-d") != "0483:df11" or options.get("-a") != "0":
        print("dfu-util: No DFU capable USB device available", file=sys.stderr)
        return _NO_DEVICE
    board = devices[options["-p"]][0]
    where, *words = options["-s"].split(":")
    try:
        if "-U" in options:
            board.dfu_read(int(where, 16), int(words.pop(0)), Path(options["-U"]))
        else:
            board.dfu_write(int(where, 16), Path(options["-D"]))
        if words == ["leave"]:
            board.dfu_leave()
    except HarnessError as problem:
        print(f"dfu-util: {problem.message}", file=sys.stderr)
        return _NO_DEVICE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
