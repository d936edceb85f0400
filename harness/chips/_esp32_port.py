"""What ``ports/esp32`` promises of every chip of the ESP32 family."""

from __future__ import annotations

from collections.abc import Mapping

from harness.chips.manners import LITTLEFS_FILE, RV32IMC, XTENSAWIN, Manners, PinNumbers
from harness.chips.port import Port, Reset, Since, numbers_of

#: All chips have all names; which of the wakes there can be is another matter (``Port.wakes_by``).
CONSTANTS = {
    "PWRON_RESET": 1,
    "HARD_RESET": 2,
    "WDT_RESET": 3,
    "DEEPSLEEP_RESET": 4,
    "SOFT_RESET": 5,
    "SLEEP": 2,
    "DEEPSLEEP": 4,
    "PIN_WAKE": 2,
    "EXT0_WAKE": 2,
    "EXT1_WAKE": 3,
    "TIMER_WAKE": 4,
    "TOUCHPAD_WAKE": 5,
    "ULP_WAKE": 6,
}
_CAUSES = {
    Reset.POWER_ON: 1,
    Reset.PIN: 1,  # EN low powers the whole chip down
    Reset.USB: 0,  # what the port knows no name for: ESP_RST_USB is none of its cases
    Reset.MACHINE: 2,
    Reset.WATCHDOG: 3,
    Reset.BROWN_OUT: 1,
    Reset.DEEP_SLEEP: 4,
    Reset.SOFT: 5,
}
_SOURCES = (
    "ports/esp32/modmachine.c (constants, reset_cause, freq, deepsleep)",
    "ports/esp32/mpconfigport.h (MICROPY_SCHEDULER_DEPTH, MICROPY_HW_RTC_USER_MEM_MAX)",
    "ports/esp32/machine_rtc.c",
    "ports/esp32/machine_timer.c with ESP-IDF soc_caps.h (SOC_TIMER_GROUP_TOTAL_TIMERS)",
    "ports/esp32/modesp32.c with ESP-IDF soc_caps.h (SOC_PM_SUPPORT_EXT0_WAKEUP and its like)",
    "ports/esp32/machine_pin.h (pins)",
)
_BOOT_PY = b"""\
# Runs at every start of the chip, at the end of a deep sleep too, before main.py.
#import esp
#esp.osdebug(None)
#import webrepl
#webrepl.start()
"""
_RISC_V = ("esp32c", "esp32h", "esp32p")
#: Numbers that are no pins: those of the flash, those that do not exist, and those of the USB that is the console.
_NO_PINS = {
    "esp32": frozenset({24, 28, 29, 30, 31}),
    "esp32s3": frozenset({22, 23, 24, 25, *range(27, 33)}),
    "esp32c3": frozenset({18, 19}),
    "esp32c6": frozenset({12, 13, *range(24, 31)}),
}
_REFUSED = {
    "esp32c2": "80MHz or 120MHz",
    "esp32c3": "20MHz, 40MHz, 80Mhz or 160MHz",
    "esp32c6": "20MHz, 40MHz, 80Mhz or 160MHz",
    "esp32h2": "20MHz, 40MHz or 80Mhz",
}
_MANNERS_SOURCES = {
    "platform": "ports/esp32/mpconfigport.h (MICROPY_PY_SYS_PLATFORM)",
    "thread": "ports/esp32/mpconfigport.h (MICROPY_PY_THREAD_GIL), py/modsys.c",
    "build": "py/mkrules.cmake (MICROPY_BOARD_BUILD_NAME), ports/esp32/boards/ESP32_GENERIC",
    "arch": "py/persistentcode.h (MPY_FEATURE_ARCH)",
    "files_at": "ports/esp32/modules/_boot.py",
    "path": "py/runtime.c (mp_init), extmod/vfs.c (mp_vfs_mount_romfs_protected), ports/esp32/main.c",
    "open_file": "extmod/vfs_lfs.c, extmod/vfs_lfsx.c (cache_size), lib/littlefs/lfs2.h (lfs2_file)",
    "first_files": "ports/esp32/modules/inisetup.py",
    "frequency": "ports/esp32/modmachine.c (mp_machine_get_freq, mp_machine_set_freq)",
    "pins": "ports/esp32/machine_pin.c (machine_pin_find), ports/esp32/machine_pin.h",
}
_HISTORY = (
    Since("1.29.0", "backup_memory", 0, "ff5b9a3085: machine.mem_backup"),
    Since("1.29.0", "virtual_timers", False, "67524d6473: machine.Timer(-1)"),
    Since("1.27.0", "hard_refused", "", "64fd2f5f36: Timer knows the word hard"),
    Since(
        "1.22.0", "memory_lost_at", frozenset({Reset.MACHINE, Reset.WATCHDOG}), "78b3fe5689: RTC memory is not cleared"
    ),
)


def esp32_port(
    name: str,
    *,
    since: str,
    timers: int,
    pins: int,
    clock_mhz: int,
    frequencies_mhz: tuple[int, ...],
    wakes_by: tuple[str, ...],
    wake_pin: int | None = None,
    uarts: tuple[int, ...] = (),
    history: tuple[Since, ...] = (),
    not_known: Mapping[str, str] | None = None,
    sources: tuple[str, ...] = (),
) -> Port:
    if "gpio" in wakes_by:
        without = tuple(source for source in wakes_by if source != "gpio")
        history += (Since("1.27.0", "wakes_by", without, "b4ab3a893c: esp32.wake_on_gpio"),)
    return Port(
        name=name,
        family="esp32",
        since=since,
        constants=CONSTANTS,
        cause_of=_CAUSES,
        queue_depth=8,
        rtc_memory=2048,
        backup_memory=2048,
        lost_at=frozenset({Reset.POWER_ON, Reset.PIN, Reset.BROWN_OUT}),
        wakes_by=wakes_by,
        wake_pin=wake_pin,
        hard_refused="hard Timers are not implemented",
        hardware_timers=timers,
        clock_hz=clock_mhz * 1_000_000,
        frequencies=tuple(mhz * 1_000_000 for mhz in frequencies_mhz),
        unique_id=bytes.fromhex("240ac4000001"),
        pins=pins,
        uarts=uarts,
        rtc_fraction=1_000_000,
        manners=_manners(name),
        history=tuple(entry for entry in _HISTORY + history if numbers_of(entry.version) > numbers_of(since)),
        not_known=not_known or {},
        sources=_SOURCES + sources,
    )


def _manners(name: str) -> Manners:
    refused = _REFUSED.get(name, "20MHz, 40MHz, 80Mhz, 160MHz or 240MHz")
    return Manners(
        platform="esp32",
        build="ESP32_GENERIC" + ("" if name == "esp32" else f"_{name.removeprefix('esp32').upper()}"),
        arch=RV32IMC if name.startswith(_RISC_V) else XTENSAWIN,
        files_at="/",
        path=("/lib",),
        filesystem="LittleFS",
        open_file=LITTLEFS_FILE,
        first_files=(("boot.py", _BOOT_PY),),
        first_words=b"Performing initial setup\r\n",
        thread="GIL",
        frequency_refused=f"frequency must be {refused}",
        pin_numbers=PinNumbers(into=1, out=3, open_drain=7, pull_up=2, pull_down=1),
        no_pins=_NO_PINS.get(name, frozenset()),
        input_only_from=34 if name == "esp32" else 0,
        sources=_MANNERS_SOURCES,
    )
