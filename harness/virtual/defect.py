"""What a seeded defect of a virtual firmware is.

A defect is part of what is flashed: it changes the firmware's port script, one of its built-in modules, or is named
in its manifest, and then the virtual CPU misbehaves in that one way (``wire``, called at each start of the VM).
``caught`` are patterns of scenario names (``suite: name``) one of which must fail, because it names the right thing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.virtual.cpu import WasmApplication

Script = Callable[[str], str]


def _same(text: str) -> str:
    return text


def _untouched(_app: WasmApplication) -> None:
    pass


def _nothing(_app: WasmApplication) -> int:
    return 0


@dataclass(frozen=True)
class Defect:
    """``sentence`` says what is wrong."""

    sentence: str
    caught: tuple[str, ...]
    script: Script = _same
    """Changes the port script."""
    guest: tuple[str, str, str] | None = None
    """Changes a built-in module: its name, a text in it, and the text that takes its place."""
    wire: Callable[[WasmApplication], None] = _untouched
    rom: Callable[[bytes], bytes] = bytes
    """Changes what the CPU reads of the ROMFS region."""
    no_heap: Callable[[WasmApplication], int] = _nothing
    """How many bytes of its heap the VM does not get, at each of its starts."""
    runtime: str = "micropython"
    """The firmware that can have it."""
    families: tuple[str, ...] = ("esp32", "esp8266", "stm32")
    """Chips on which a program can tell it."""

    @property
    def suite(self) -> str:
        return self.caught[0].partition(":")[0]


HEALTHY = Defect("none", ("none:",))
