"""What ``ports/esp32`` promises of every chip of the ESP32 family."""

from __future__ import annotations

from collections.abc import Mapping

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
        rtc_fraction=1_000_000,
        history=tuple(entry for entry in _HISTORY + history if numbers_of(entry.version) > numbers_of(since)),
        not_known=not_known or {},
        sources=_SOURCES + sources,
    )
