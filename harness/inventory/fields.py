"""The kinds of values that stand in boards.yaml: how each is checked, and what editors are told of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

from harness.chips import CHIPS, KB, MB
from harness.chips.silk import SILKS
from harness.extensions import names

CAPABILITIES: dict[str, str] = {
    "deep_sleep": "The board enters deep sleep and wakes from it by itself (ESP8266: GPIO16 wired to RST).",
    "rtc_memory": "Memory that keeps its content in deep sleep can be written and read by a program.",
    "light_sleep": "The CPU can be halted and woken with its RAM and console intact.",
    "pin_loopback": "Two pins are wired together, so that a program can cause its own pin interrupts.",
    "hard_irq": "Interrupt handlers can run at once, outside the VM's scheduler (hard=True).",
    "timer_irq": "Hardware timers can call back into the VM.",
    "watchdog": "A program can start a watchdog that resets the chip.",
    "romfs": "The flash has a ROMFS area, and modules run in place from it.",
    "lfs": "The flash has a Lua Flash Store (NodeMCU).",
    "native_usb": "The console is the chip's own USB: the port vanishes at each reset and in deep sleep.",
    "float": "The VM has floating point numbers.",
    "threads": "The VM has the _thread module.",
    "wifi": "The board has a radio that the VM can use.",
    "movable_allocations": "CircuitPython: the supervisor allocates in the VM's heap and moves that (6.1 to 8).",
    "persisted_bytes": "CircuitPython: supervisor.persisted_bytes, a proposal that was not merged.",
    "psram": "The board has external RAM that is part of the VM's heap.",
}


def one_of(known: Collection[str], what: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value in known:
            return value
        near = get_close_matches(value, known, 1)
        hint = f"; nearest valid {what} is {near[0]!r}" if near else ""
        raise ValueError(f"expected one of {', '.join(known)}; came {short(value)}{hint}")

    return check


def short(value: object) -> str:
    """A value from a file as one bounded line of plain text."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _parse_size(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"([1-9][0-9]{0,5}) ?(KB|MB)", value)
    if not match:
        raise ValueError(f"expected a number of bytes, or text like 4MB or 512KB; came {short(value)}")
    return int(match.group(1)) * (KB if match.group(2) == "KB" else MB)


def check_pin(value: object) -> int | str:
    """A pin's number or name as boards have them. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 256:
        return value
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,15}", value):
        return value
    raise ValueError(f"expected a pin number (0 to 255) or a pin name like PA5 or D4; came {short(value)}")


def _local_path(value: object, info: ValidationInfo) -> Path:
    """A path, relative to the folder of boards.yaml when the loader says which that is."""
    if not isinstance(value, str) or not value or "\0" in value or len(value) > 1000:
        raise ValueError(f"expected the path of a file; came {short(value)}")
    base = (info.context or {}).get("base")
    return Path(base) / value if base else Path(value)


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _known_chip(name: str) -> str:
    """The chips are looked up when a file is read, not when this module is: a package may bring some."""
    return one_of(CHIPS, "chip")(name)


class _ChipNames:
    """In the schema: the names of all chips that there are when it is made."""

    def __get_pydantic_json_schema__(self, _schema: object, _handler: object) -> dict[str, object]:
        return {"type": "string", "enum": sorted(CHIPS)}


class Named:
    """A field that holds a name of an extension ``group`` (or one of ``more``); ``what`` is for messages.

    The names are looked up when a file is read and when the schema is made: a package may bring some.
    """

    def __init__(self, group: str, what: str, *more: str) -> None:
        self._group, self._what, self._more = group, what, more

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def known(name: str) -> str:
            return one_of((*self._more, *names(self._group)), self._what)(name)

        return core_schema.no_info_after_validator_function(known, handler(source))

    def __get_pydantic_json_schema__(self, _schema: object, _handler: object) -> dict[str, object]:
        return {"type": "string", "enum": [*names(self._group), *self._more]}


ChipName = Annotated[str, AfterValidator(_known_chip), _ChipNames()]
FlashMethod = Annotated[str, Named("harness.flashing", "flash.method", "none")]
#: A language VM, the harness's own or another package's.
RuntimeName = Annotated[str, Named("harness.runtimes", "runtime")]
PowerMethod = Annotated[str, Named("harness.power", "power.method", "none")]
Capability = Annotated[
    str,
    AfterValidator(one_of(CAPABILITIES, "capability")),
    WithJsonSchema(
        {
            "type": "string",
            "enum": list(CAPABILITIES),
            "markdownEnumDescriptions": list(CAPABILITIES.values()),
        }
    ),
]
Size = Annotated[
    int,
    BeforeValidator(_parse_size),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": "^[1-9][0-9]{0,5} ?(KB|MB)$"},
            ]
        }
    ),
]
#: A board whose silk screen is known.
SilkName = Annotated[
    str, AfterValidator(one_of(SILKS, "board")), WithJsonSchema({"type": "string", "enum": list(SILKS)})
]
Pin = Annotated[int | str, PlainValidator(check_pin), WithJsonSchema({"type": ["integer", "string"]})]
#: A tag of a place in a lab (labgrid's own rule for keys); a number stands for its digits.
LabTag = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,60}$")]
LabTagValue = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
    Field(pattern=r"^[!-+\--<>-~]{1,100}$"),  # neither space nor comma nor =
]
Mac = Annotated[str, BeforeValidator(_lower), Field(pattern=r"^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$")]
Baud = Annotated[int, Field(ge=300, le=4_000_000)]
FilePath = Annotated[Path, PlainValidator(_local_path), WithJsonSchema({"type": "string"})]
Sha256 = Annotated[str, BeforeValidator(_lower), Field(pattern=r"^[0-9a-fA-F]{64}$")]
Uid = Annotated[str, BeforeValidator(_lower), Field(pattern=r"^[0-9a-fA-F]{8,32}$")]
VidPid = Annotated[str, BeforeValidator(_lower), Field(pattern=r"^[0-9a-fA-F]{4}:[0-9a-fA-F]{4}$")]
#: What is looked at before an ESP's flash is written, and may be passed over by ``flash.override``.
FlashCheck = Literal[
    "secure-boot", "key-manager", "flash-encryption", "image-revision", "image-chip", "declared-flash-size"
]
Offset = Annotated[int, Field(ge=0, le=0xFFFF_FFFF)]
OpenOcdFile = Annotated[str, Field(pattern=r"^[A-Za-z0-9_./-]{1,200}$")]
#: Settings of a method that another package brings; it says itself which there are.
Options = dict[str, str | int | float | bool]
Argument = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]
