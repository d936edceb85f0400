"""What a person does to a board on a real bench: press its button, put a lead on a pin, cut its power.

A virtual board's process takes such orders on a loopback port of their own, since its serial line must carry
nothing that a chip's does not: one JSON object a connection, as a line, and one back (``{}`` or ``{"error": …}``).
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import BenchFault, UsageError
from harness.virtual.faults import Fault

if TYPE_CHECKING:
    from harness.virtual.serial_chip import SerialChip


#: An order is no longer than this, in bytes.
_LIMIT = 1024
#: How long either side waits for the other, in seconds. Power-off waits for the chip's thread.
_PATIENCE = 5.0


class ControlServer:
    """Takes orders for ``chip``, one at a time, until :meth:`close`."""

    def __init__(self, chip: SerialChip) -> None:
        self._chip = chip
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, name="control", daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # a close alone does not end an accept
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(_PATIENCE)
                connection.sendall(json.dumps(self._obey(_line(connection))).encode() + b"\n")

    def _obey(self, line: bytes) -> dict[str, Any]:
        try:
            order = json.loads(line)
            return self._do(str(order.pop("do")), **order) or {}
        except UsageError as problem:
            return {"error": problem.message}
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as problem:
            return {"error": f"not an order: {type(problem).__name__}: {problem}"[:200]}

    def _do(
        self,
        what: str,
        *,
        pin: int | str = "",
        level: int | None = None,
        down: bool = False,
        on: bool = True,
        fault: dict[str, Any] | None = None,
        address: int = 0,
        size: int = 0,
        file: str = "",
    ) -> dict[str, Any] | None:
        chip = self._chip
        if what == "lead":
            chip.board.lead(pin, level)
        elif what == "press":
            chip.board.press(down)
        elif what == "reset":
            chip.press_reset(boot=down)
        elif what == "brown-out":
            chip.brown_out()
        elif what == "power":
            chip.power_on() if on else chip.power_off()
        elif what == "state":
            return {"powered": chip.powered, "asleep": chip.board.asleep, "faults": chip.faults.happened}
        elif what == "fault":
            chip.faults.add(Fault(**(fault or {})))
        elif what == "mend":
            chip.mend()
        elif what == "dfu":
            loader = chip.usb_loader
            return {"memory": loader.memory, "serial": loader.serial} if loader is not None else None
        elif what.startswith("dfu-"):
            self._dfu(what, address, size, file)
        else:
            raise UsageError(f"there is no order {what!r}")
        return None

    def _dfu(self, what: str, address: int, size: int, file: str) -> None:
        loader = self._chip.usb_loader
        if loader is None:
            raise UsageError("the board is not in its USB boot loader")
        if what == "dfu-read":
            Path(file).write_bytes(loader.read(address, size))
        elif what == "dfu-write":
            loader.write(address, Path(file).read_bytes())
        elif what == "dfu-leave":
            self._chip.leave_usb_loader()
        else:
            raise UsageError(f"there is no order {what!r}")


def order(port: int, what: str, **arguments: object) -> dict[str, Any]:
    """Give an order. Raises UsageError when the board refuses it, BenchFault when there is no board."""
    try:
        with socket.create_connection(("127.0.0.1", port), _PATIENCE) as connection:
            connection.sendall(json.dumps({"do": what, **arguments}).encode() + b"\n")
            reply: dict[str, Any] = json.loads(_line(connection))
    except (OSError, ValueError) as problem:
        raise BenchFault(f"the virtual board does not take the order {what!r}: {problem}") from None
    if "error" in reply:
        raise UsageError(str(reply["error"]))
    return reply


def _line(connection: socket.socket) -> bytes:
    data = b""
    while b"\n" not in data and len(data) < _LIMIT:
        chunk = connection.recv(_LIMIT - len(data))
        if not chunk:
            break
        data += chunk
    return data
