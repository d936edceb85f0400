"""The line to one board: its port, the session on it, and the client that speaks to its VM."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable

import serial

from harness.bench.board_port import BoardPort, console_opener
from harness.bench.device import Device
from harness.inventory.model import Board
from harness.link.deadline import Deadline
from harness.link.ports import OpenPort, is_pty
from harness.link.session import Session
from harness.link.transcript import Transcript
from harness.power.reset import strategy_for
from harness.power.switch import cycle
from harness.runtimes.interface import BoardRuntime
from harness.runtimes.traits import Means, RuntimeTraits


class BoardLine:
    """``happened`` hears of each time that the port had gone and was opened again: a kind of event, and its words.

    :attr:`port` and :attr:`runtime` are there after :meth:`open` and :meth:`speak`, until :meth:`hang_up`. The port
    that comes back after it has gone is another object.
    """

    def __init__(
        self,
        board: Board,
        device: Device,
        traits: RuntimeTraits,
        transcript: Transcript,
        happened: Callable[[str, str], None],
    ) -> None:
        self._board = board
        self._device = device
        self._traits = traits
        self._transcript = transcript
        self._happened = happened
        self._where = BoardPort(board, device.find, console_opener(board))
        self._session: Session | None = None
        self._reset = strategy_for(board)
        self.port: OpenPort
        self.runtime: BoardRuntime

    @property
    def address(self) -> str:
        """The name that the port had when it was last opened."""
        return self._where.address

    @property
    def resets(self) -> bool:
        """Whether a reset over this line works: the wiring has one, and the port carries it."""
        return self._reset is not None and not is_pty(self.port)

    def open(self, patience: float, busy: Deadline, waiting: Callable[[str], None]) -> OpenPort:
        """Open the port, wherever it is; it may take ``patience`` seconds to appear, and another program may have it
        until ``busy``, of which ``waiting`` hears. Raises BenchFault."""
        self.port = self._where.when_free(patience, busy, waiting)
        return self.port

    def speak(self) -> BoardRuntime:
        """A client of the board's runtime on the open port, whose programs prove that they arrived; nothing has been
        sent yet."""
        self._session = session = Session(
            self.port, self._transcript, reopen=self._reopen, why_gone=self._device.why_gone
        )
        seed = random.randrange(1 << 32)
        means = Means(
            reset=self._resetter,
            intervene=self._device.intervene,
            buffer=self._board.console.buffer,
            nonces=random.Random(seed),
            native_usb="native_usb" in self._board.capabilities,
        )
        self.runtime = self._traits.make_client(session, means)
        begin = {
            "runtime": self._board.runtime,
            "seed": seed,
            "buffer": means.buffer,
            "native_usb": means.native_usb,
            "can_reset": self.runtime.can_reset,
            "can_intervene": self.runtime.can_intervene,
        }
        self._transcript.add("session", json.dumps(begin).encode())
        self.runtime.verify_programs(True)
        return self.runtime

    @property
    def speaks(self) -> bool:
        """Whether there is a client on an open port."""
        return self._session is not None and not self._session.closed

    def hang_up(self) -> None:
        """Close the port, if one is open."""
        if self._session is not None:
            self._session.hang_up()
            self._session = None
        elif hasattr(self, "port"):
            self.port.close()

    def cut(self) -> None:
        """The board is not ours any more: who reads from the port, or writes to it, is at its end. From any thread."""
        if hasattr(self, "port"):
            with contextlib.suppress(OSError, serial.SerialException, AttributeError):
                self.port.close()

    @property
    def enters_usb_loader(self) -> Callable[[], None] | None:
        """Brings the board into its USB boot loader by the VM that runs; None for a VM that cannot."""
        return self._enter_usb_loader if self._traits.enters_usb_loader else None

    def _enter_usb_loader(self) -> None:
        """In the middle of a conversation by the port of that, which is then closed: nobody else may open it."""
        port = self.port if self.speaks else self._where.open()
        try:
            with contextlib.suppress(OSError, serial.SerialException):  # it goes while it is written to
                port.write(self._traits.enters_usb_loader)
                port.flush()
        finally:
            if self._session is not None:
                self._session.hang_up()
            port.close()

    @property
    def _resetter(self) -> Callable[[], None] | None:
        """How the chip is started anew: over the line, or by its power where the line carries bytes alone."""
        if self._reset is None:
            return None
        bytes_alone = str(self.port.port).startswith("socket://")
        return self._cycle_power if bytes_alone and self._device.switch is not None else self.pulse_reset

    def _cycle_power(self) -> None:
        assert self._device.switch is not None
        cycle(self._device.switch, self._device.off_seconds)

    def pulse_reset(self) -> None:
        """Reset the chip into its application by the lines."""
        assert self._reset is not None
        self._reset(self.port)

    def _reopen(self) -> OpenPort:
        """One attempt to have the port again after it went."""
        self.port = self._where.open()
        self._happened("reopened", "its port had gone, and was opened again")
        return self.port
