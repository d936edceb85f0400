"""Seeded defects of the UARTs: the table and what each does. See :mod:`.defect`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.reference.guest_rom import Service
from harness.virtual.defect import Defect
from harness.virtual.defect_effects import Handler, deliver, service

if TYPE_CHECKING:
    from harness.virtual.cpu import WasmApplication

_RECEIVED = "interrupt: the poller sleeps until a uart has*"
_IDLE = "interrupt: the poller sleeps until a uarts line*"
#: The virtual ESP8266 has no UART beside its console.
_FAMILIES = ("esp32", "stm32")


def _lose_idle(n: int) -> Callable[[WasmApplication, Callable[..., None], int, bool, str], None]:
    count = 0

    def change(_app: WasmApplication, original: Callable[..., None], slot: int, hard: bool, what: str) -> None:
        nonlocal count
        idle = what.startswith("uart") and what.endswith("idle")
        count += idle
        if not idle or count % n:
            original(slot, hard, what)

    return change


def _idle_at_each_byte(app: WasmApplication) -> None:
    uarts = app.services.uarts
    uarts.byte_trigger = uarts.idle_trigger


def _short_messages(n: int) -> Callable[[WasmApplication, Handler], Handler]:
    def around(_app: WasmApplication, original: Handler) -> Handler:
        count = 0

        def write(number: int, address: int, size: int) -> int | None:
            nonlocal count
            count += 1
            return original(number, address, size - (count % n == 0))

        return write

    return around


UART_DEFECTS: dict[str, Defect] = {
    "uart_loses_idle": Defect(
        "every fourth idle line of a UART is not told", (_IDLE,), wire=deliver(_lose_idle(4)), families=_FAMILIES
    ),
    "uart_idle_at_each_byte": Defect(
        "each byte that a UART receives is told as an idle line", (_IDLE,), wire=_idle_at_each_byte, families=_FAMILIES
    ),
    "uart_drops_a_byte": Defect(
        "the last byte of every fourth message is not sent",
        (_RECEIVED, _IDLE),
        wire=service(Service.UART_WRITE, _short_messages(4)),
        families=_FAMILIES,
    ),
}
