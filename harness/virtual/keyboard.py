"""The receiving side of a virtual board's console: what interrupts a program, and what is its input.

The counterpart of MicroPython's ``shared/runtime/interrupt_char.c`` and of a port's receive interrupt
(``uart_irq_handler`` in ``ports/esp32/uart.c``): a byte that is the interrupt character makes a KeyboardInterrupt
pending and goes no further; any other goes into the input ring, Ctrl-C too while no interrupt character is set.
"""

from __future__ import annotations

import threading


class Keyboard:
    """Both threads' view of the interrupt character: the line's receives, the VM's sets it and takes the interrupt."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._char: int | None = None
        self._wanted = False

    @property
    def wanted(self) -> bool:
        """Whether an interrupt has come that the VM has not taken yet."""
        return self._wanted

    def received(self, data: bytes) -> bytes:
        """What of ``data`` is input. From the line's thread."""
        with self._lock:
            if self._char is None:
                return data
            kept = data.replace(bytes([self._char]), b"")
            self._wanted |= len(kept) < len(data)
            return kept

    def listen(self, char: int | None) -> None:
        """``mp_hal_set_interrupt_char``; None: no character interrupts. One that has come is kept until it is taken."""
        with self._lock:
            self._char = char

    def take(self) -> bool:
        """Whether an interrupt has come since the last call."""
        with self._lock:
            wanted, self._wanted = self._wanted, False
            return wanted
