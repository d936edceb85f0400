"""The settings of a board's firmware, as its own headers have them: which the reference takes, and which it replaces.

The board's ``mpconfigport.h`` and all that it includes go through the preprocessor, with an empty file in place of
each header that is not in the tree (a chip maker's), and the values that macros have at the end are read off. What
decides how the language VM works is taken; what is of the chip, its native code, or the port's own C is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.reference.own_tree.tree import Firmware
from harness.reference.own_tree.zig import Zig

#: So many headers may be missing.
_MISSING_LIMIT = 200


@dataclass(frozen=True)
class Setting:
    """One macro: the ``board``'s value, the reference's (``ours``, None: not defined) and ``why`` it is another; empty
    when it was taken."""

    name: str
    board: str
    ours: str | None
    why: str = ""


_NATIVE = "machine code of the chip cannot run on the host"
_PERIPHERALS = "the chip's peripherals are the harness's"
_NETWORK = "the reference has no network"
_PORT_C = "the port's own C code"
_HEAP = "the reference's heap is as large as the board says"
_FILES = "the files are the host's"
_HOOKS = "the port's hooks: the reference has its own, at which the host may strike"
_THREADS = "the reference has one thread"

#: Names that are not taken: pattern, the reference's value (None: left undefined), and why.
_REPLACED: tuple[tuple[str, str | None, str], ...] = (
    (r"MICROPY_EMIT_\w+|MICROPY_MAKE_POINTER_CALLABLE|MICROPY_PERSISTENT_CODE_TRACK\w*", None, _NATIVE),
    (r"MICROPY_DYNAMIC_COMPILER|MICROPY_ENABLE_NATIVE_CODE|MICROPY_PY_MICROPYTHON_(?:NATIVE|VIPER)\w*", None, _NATIVE),
    (r"MICROPY_NLR_\w+", None, "non-local jumps are setjmp's on WebAssembly"),
    (r"MICROPY_OPT_COMPUTED_GOTO\w*", None, "WebAssembly has no computed goto"),
    (r"MICROPY_PY_MACHINE_(?:PIN_BASE|PULSE|SIGNAL|MEMX|DISABLE_IRQ_ENABLE_IRQ)", "", ""),  # taken: no peripheral
    (
        r"MICROPY_PY_MACHINE_\w+|MICROPY_PY_(?:ESP32_\w+|PYB\w*|STM\w*|NEOPIXEL|ONEWIRE|DHT|LEGACY\w*)",
        None,
        _PERIPHERALS,
    ),
    (
        r"MICROPY_PY_U?(?:NETWORK|SOCKET|LWIP|SSL|TLS|BLUETOOTH|WEBREPL|WEBSOCKET|ESPNOW|AIOESPNOW|USB\w*|OPENAMP)\w*",
        None,
        _NETWORK,
    ),
    (r"MICROPY_BLUETOOTH\w*|MICROPY_SSL\w*|MICROPY_TRACKED_ALLOC\w*|MICROPY_STREAMS_POSIX_API", None, _NETWORK),
    (
        r"MICROPY_PY_U?CRYPTOLIB\w*|MICROPY_PY_U?HASHLIB_(?:MD5|SHA1)|MICROPY_PY_BTREE\w*",
        None,
        "a library outside the VM's sources",
    ),
    (r"MICROPY_PY_THREAD\w*|MICROPY_THREAD\w*|MICROPY_MPTHREADPORT_H", None, _THREADS),
    (r"MICROPY_(?:PY_)?\w*INCLUDEFILE|MICROPY_PY_\w+_EXTRA_GLOBALS|MICROPY_PORT_\w+|MICROPY_BOARD_\w+", None, _PORT_C),
    (
        r"MICROPY_PY_U?OS_DUPTERM\w*|MICROPY_PY_U?OS_(?:URANDOM|SYNC|SEP|SYSTEM|GETENV|UNAME_R)\w*|MICROPY_PY_U?RANDOM_SEED_INIT_FUNC|MICROPY_RTC\w*",
        None,
        _PORT_C,
    ),
    (r"MICROPY_HW_\w+|MICROPY_MACHINE_\w+|MICROPY_\w+_H", None, _PERIPHERALS),
    (r"MICROPY_GC_SPLIT_HEAP\w*|MICROPY_HEAP_\w+|MICROPY_GC_STACK_ENTRY_TYPE|MICROPY_ALLOC_\w*HEAP\w*", None, _HEAP),
    (r"MICROPY_VFS_(?:FAT|LFS1|LFS2)|MICROPY_FATFS\w*|MICROPY_VFS_ROM_IOCTL", None, _FILES),
    (
        r"MICROPY_(?:VM_HOOK|EVENT_POLL|INTERNAL_WFE|INTERNAL_EVENT|SCHED_HOOK|BEGIN_ATOMIC|END_ATOMIC|WRAP)\w*",
        None,
        _HOOKS,
    ),
    (r"MICROPY_\w*(?:PRINTER|STACKLESS\w*|STACK_CHECK_MARGIN|USE_INTERNAL_\w+)", None, _PORT_C),
)

#: What the port needs, whatever the board has.
_NEEDED: Mapping[str, tuple[str, str]] = {
    "MICROPY_NLR_SETJMP": ("(1)", "non-local jumps are setjmp's on WebAssembly"),
    "MICROPY_OPT_COMPUTED_GOTO": ("(0)", "between two bytecodes the host may strike"),
    "MICROPY_VFS": ("(1)", _FILES),
    "MICROPY_VFS_POSIX": ("(1)", _FILES),
    "MICROPY_READER_VFS": ("(1)", _FILES),
    "MICROPY_ENABLE_GC": ("(1)", "there is no other heap"),
    "MICROPY_ENABLE_COMPILER": ("(1)", "programs come as text"),
    "MICROPY_USE_INTERNAL_PRINTF": ("(0)", "the C library is the host's"),
    "MICROPY_PY_MACHINE_INCLUDEFILE": ('"port_machine.c"', _PERIPHERALS),
    "MICROPY_VFS_ROM_IOCTL": ("(0)", _FILES),
    "MICROPY_PY_MACHINE_RESET": ("(0)", _PERIPHERALS),
    "MICROPY_PY_TIME_INCLUDEFILE": ('"port_time.c"', "the clock is the host's"),
}

#: What the modules need by which a chip's ``machine`` is played (harness/reference/guest_rom.py).
_CHIP_NEEDS: Mapping[str, tuple[str, str]] = dict.fromkeys(
    (
        "MICROPY_PY_UCTYPES",
        "MICROPY_PY_MACHINE",
        "MICROPY_PY_MACHINE_MEMX",
        "MICROPY_PY_MACHINE_PIN_BASE",
        "MICROPY_PY_MACHINE_SIGNAL",
        "MICROPY_PY_MACHINE_PULSE",
        "MICROPY_PY_TIME",
        "MICROPY_PY_IO",
        "MICROPY_VFS_ROM",
    ),
    ("(1)", "the chip's machine module is played through it"),
)


def board_settings(
    firmware: Firmware,
    zig: Zig,
    work: Path,
    *,
    header: Path | None,
    defines: Mapping[str, str],
    folders: Sequence[Path],
    chip: bool,
) -> list[Setting]:
    """All settings that the board has or that the reference needs, sorted by name.

    ``header`` is read in place of the port's ``mpconfigport.h`` (upstream's own ``MP_CONFIGFILE``), ``defines`` are
    given to it as the compiler's command line would, and ``folders`` are looked through for headers, too. With ``chip``
    what a played chip needs is switched on. Raises UsageError when the headers cannot be read.
    """
    found = _values(firmware, zig, work, header, defines, folders)
    known = _known_names(firmware)
    settings = {}
    for name, value in found.items():
        if name in known:
            settings[name] = _decided(name, value, known | found.keys())
    needed = {**_NEEDED, **(_CHIP_NEEDS if chip else {})}
    for name, (value, why) in needed.items():
        board = found.get(name, "")
        settings[name] = Setting(name, board, value, "" if board.strip("()") == value.strip("()") else why)
    return sorted(settings.values(), key=lambda setting: setting.name)


def _decided(name: str, value: str, known: Iterable[str]) -> Setting:
    for pattern, ours, why in _REPLACED:
        if re.fullmatch(pattern, name):
            if not why:
                break
            return Setting(name, value, ours, why)
    words = set(re.findall(r"[A-Za-z_]\w*", re.sub(r'"[^"]*"|\b\d\w*', " ", value)))
    if words - set(known) - {"defined", "L", "U", "UL"} or re.search(r"[{};#]|\bdo\b", value):
        return Setting(name, value, None, _PORT_C)
    return Setting(name, value, value)


def _known_names(firmware: Firmware) -> frozenset[str]:
    """The settings that the tree's own sources ask for: others are the port's own."""
    names: set[str] = set()
    for part in ("py", "extmod", "shared"):
        for path in (firmware.tree.path / part).rglob("*.[ch]"):
            names |= set(re.findall(r"\b(?:MICROPY|MP)_[A-Z0-9_]+\b", path.read_text("utf-8", "replace")))
    return frozenset(names)


# -- the preprocessor ----------------------------------------------------------------------------


def _values(
    firmware: Firmware,
    zig: Zig,
    work: Path,
    header: Path | None,
    defines: Mapping[str, str],
    more: Sequence[Path],
) -> dict[str, str]:
    stubs = work / "stubs"
    stubs.mkdir(exist_ok=True)
    source = work / "settings.c"
    source.write_text(f"#include <{header.resolve() if header else 'mpconfigport.h'}>\n")
    folders = [firmware.port_folder, firmware.folder, firmware.tree.path, *([header.parent] if header else []), *more]
    for folder in more:
        folders += sorted({path.parent for path in folder.rglob("*.h")})
    folders.append(stubs)
    given = {**_from_make_files(firmware), **defines}
    arguments: list[str | Path] = [
        *("cc", "-target", "wasm32-wasi", "-E", "-dM", "-std=gnu99", "-D__ARM_ARCH_ISA_THUMB=2", "-w"),
        *(f"-D{name}={value}" if value else f"-D{name}" for name, value in given.items()),
        *(f"-I{folder}" for folder in folders),
        source,
    ]
    for _ in range(_MISSING_LIMIT):
        done = zig.run(arguments, cwd=work)
        if not done.code:
            break
        errors = done.errors.decode("utf-8", "replace")
        missing = re.search(r"fatal error: '([^']{1,200})' file not found", errors)
        if missing is None or ".." in missing[1] or missing[1].startswith("/"):
            first = next((line for line in errors.splitlines() if "error:" in line), errors.strip()[:200])
            raise UsageError(
                f"the settings of {firmware.name} cannot be read: {first}",
                hint="give what the board's build defines with --define NAME=VALUE",
            )
        stub = stubs / missing[1]
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text("")
    else:
        raise UsageError(f"the settings of {firmware.name} need more than {_MISSING_LIMIT} headers that are not there")
    found = re.findall(
        r"^#define ((?:MICROPY|MP)_[A-Z0-9_]+)(?: (.*))?$", done.output.decode("utf-8", "replace"), re.MULTILINE
    )
    return {**{name: value or "" for name, value in given.items() if name.startswith("MICROPY_")}, **dict(found)}


def _from_make_files(firmware: Firmware) -> dict[str, str]:
    """What the board's part of the build defines on the compiler's command line."""
    folder, found = firmware.folder, dict[str, str]()
    texts = [_read(folder / "mpconfigboard.mk"), _read(folder / "mpconfigboard.cmake")]
    if firmware.variant:
        texts += [_read(folder / f"mpconfigvariant_{firmware.variant}.{kind}") for kind in ("mk", "cmake")]
    elif (folder / "mpconfigvariant.mk").exists():
        texts.append(_read(folder / "mpconfigvariant.mk"))
    for text in texts:
        for name, value in re.findall(r"-D(\w+)(?:=('[^']*'|\S+))?", text):
            found[name] = value.strip("'")
        for name, value in re.findall(r"^(MICROPY_\w+)\s*\??=\s*(\w+)\s*$", text, re.MULTILINE):
            found[name] = value
        for listed in re.findall(r"list\(APPEND MICROPY_DEF_BOARD(.*?)\)", text, re.DOTALL):
            for name, value in re.findall(r"^\s*(\w+)(?:=(.*?))?\s*$", listed, re.MULTILINE):
                found[name] = value
        for config in re.findall(r"boards/[\w./]*sdkconfig\.\w+", text):
            for name, value in re.findall(r"^(CONFIG_\w+)=(.*)$", _read(firmware.port_folder / config), re.MULTILINE):
                found[name] = {"y": "1", "n": "0"}.get(value.strip(), value.strip())
        if series := re.search(r"^MCU_SERIES\s*=\s*(\w+)", text, re.MULTILINE):
            upper = series[1].upper()
            found |= {f"STM32{upper}": "", "STM32_HAL_H": f"<stm32{series[1]}xx_hal.h>"}
        if mcu := re.search(r"^CMSIS_MCU\s*=\s*(\w+)", text, re.MULTILINE):
            found[mcu[1]] = ""
    if firmware.port == "stm32":
        double = found.get("MICROPY_FLOAT_IMPL") == "double"
        found["MICROPY_FLOAT_IMPL"] = f"MICROPY_FLOAT_IMPL_{'DOUBLE' if double else 'FLOAT'}"
    return {name: value for name, value in found.items() if not value.startswith("$")}


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
