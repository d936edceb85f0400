"""What ``ports/stm32`` promises of every STM32, and how their flash and unique id are laid out.

The numbers of timers and backup registers are those of ST's CMSIS headers as the port has them (``lib/stm32lib``).
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.chips.manners import ARMV7EM_SINGLE, FAT_FILE, Manners, PinNumbers
from harness.chips.port import Port, Reset, Since
from harness.chips.record import KB, STM32_FLASH_BASE, Chip

#: (address of the unique id, address of the flash's size) of each line.
F1_SIGNATURE = (0x1FFF_F7E8, 0x1FFF_F7E0)
F4_SIGNATURE = (0x1FFF_7A10, 0x1FFF_7A22)
F7_SIGNATURE = (0x1FF0_F420, 0x1FF0_F442)
H7_SIGNATURE = (0x1FF1_E800, 0x1FF1_E880)
L4_SIGNATURE = (0x1FFF_7590, 0x1FFF_75E0)

_CONSTANTS = {
    "SOFT_RESET": 0,
    "PWRON_RESET": 1,
    "HARD_RESET": 2,
    "WDT_RESET": 3,
    "DEEPSLEEP_RESET": 4,
}
_CAUSES = {
    Reset.POWER_ON: 1,
    Reset.PIN: 2,
    Reset.MACHINE: 2,  # a software reset pulls NRST low, and the pin flag is looked at
    Reset.WATCHDOG: 3,
    Reset.BROWN_OUT: 1,
    Reset.DEEP_SLEEP: 4,
    Reset.SOFT: 0,
}
_SOURCES = (
    "ports/stm32/modmachine.c (constants, machine_init)",
    "ports/stm32/mpconfigport.h (MICROPY_SCHEDULER_DEPTH)",
    "ports/stm32/machine_mem_backup.c",
    "ports/stm32/rtc.c",
    "extmod/machine_timer.c",
    "ports/stm32/timer.c with ST's CMSIS headers (TIMx, RTC_BKP_NUMBER)",
    "ports/stm32/main.c (soft reset)",
)
_FIRST_FILES = (
    (
        "boot.py",
        b"# Runs at every start: what USB and the filesystem are to be.\r\n"
        b"\r\nimport machine\r\nimport pyb\r\n#pyb.main('main.py')\r\n#pyb.usb_mode('VCP+MSC')\r\n",
    ),
    ("main.py", b"# Runs after boot.py.\r\n"),
    ("pybcdc.inf", b"; a driver description for old hosts\r\n"),
    ("README.txt", b"A board with MicroPython. Its program is main.py.\r\n"),
)
_MANNERS_SOURCES = {
    "platform": "ports/stm32/mpconfigport.h (MICROPY_PY_SYS_PLATFORM)",
    "thread": "ports/stm32/mpconfigport.h (MICROPY_PY_THREAD), py/modsys.c",
    "build": "py/mkrules.mk (MICROPY_BOARD_BUILD_NAME), ports/stm32/boards",
    "arch": "py/persistentcode.h (MPY_FEATURE_ARCH)",
    "files_at": "ports/stm32/main.c (init_flash_fs)",
    "path": "py/runtime.c (mp_init), extmod/vfs.c (mp_vfs_mount_romfs_protected), ports/stm32/main.c (stm32_main)",
    "open_file": "extmod/vfs_fat_file.c, lib/oofatfs/ff.h (FIL), lib/oofatfs/ffconf.h (FF_FS_TINY)",
    "first_files": "ports/stm32/factoryreset.c",
    "frequency": "ports/stm32/modmachine.c, ports/stm32/mpconfigboard_common.h (MICROPY_HW_CLK_APB1_DIV)",
    "pins": "ports/stm32/pin.c (pin_find), ports/stm32/boards/*/pins.csv",
}


def stm32_chip(
    name: str,
    flash_kb: int,
    *ram: tuple[int, int],
    **parts: object,
) -> Chip:
    """An STM32: flash at the usual address, booted from its start; ``ram`` in (address, bytes)."""
    flash = ((STM32_FLASH_BASE, flash_kb * KB),)
    return Chip(name, "stm32", STM32_FLASH_BASE, flash, ram, sources=_MEMORY_MAPS, **parts)  # type: ignore[arg-type]


_MEMORY_MAPS = ("reference manuals RM0008 to RM0433, memory map, for the largest part of the line",)


def stm32_port(
    name: str,
    *,
    since: str,
    board: str,
    clock_mhz: int,
    pyb_timers: tuple[int, ...],
    uarts: tuple[int, ...] = (),
    backup_registers: int,
    backup_memory: int = 0,
    backup_registers_at: int = 0x4000_2850,
    backup_block: str = "RTC",
    rtc_fraction: int = 256,
    pin_ports: str = "ABCDEFGHI",
    arch: int = ARMV7EM_SINGLE,
    bus_dividers: tuple[int, int, int] = (1, 4, 2),
    frequency_fixed: bool = False,
    board_pins: Mapping[str, str] | None = None,
    not_known: Mapping[str, str] | None = None,
    sources: tuple[str, ...] = (),
) -> Port:
    """``board`` is the port's own, from which the clock is taken; ``bus_dividers`` are those of AHB, APB1 and APB2."""
    history = [Since("1.27.0", "hard_timer", False, "955b6a907c: Timer knows the word hard")]
    if backup_memory:
        history.append(Since("1.29.0", "backup_memory", 0, "fb1375b578: machine.mem_backup"))
    return Port(
        name=name,
        family="stm32",
        since=since,
        constants=_CONSTANTS,
        cause_of=_CAUSES,
        queue_depth=8,
        rtc_memory=0,
        backup_memory=backup_memory,
        backup_registers=backup_registers,
        backup_registers_at=backup_registers_at,
        backup_block=backup_block,
        wakes_by=("timer (RTC wake-up)", "WKUP pins"),
        hard_pin_irq=True,
        hard_timer=True,
        one_shot=1,
        periodic=2,
        clock_hz=clock_mhz * 1_000_000,
        unique_id=bytes.fromhex("260031000351323332353731"),
        pin_ports=pin_ports,
        rtc_fraction=rtc_fraction,
        rtc_counts_down=rtc_fraction == 256,
        pyb_timers=pyb_timers,
        uarts=uarts,
        soft_reset_text=b"MPY: sync filesystems\r\nMPY: soft reboot\r\n",
        manners=Manners(
            platform="pyboard",
            build=board,
            arch=arch,
            files_at="/flash",
            path=("/flash", "/flash/lib"),
            filesystem="FAT",
            open_file=FAT_FILE,
            first_files=_FIRST_FILES,
            buses=_buses(clock_mhz * 1_000_000, *bus_dividers),
            frequency_refused="machine.freq set not supported yet" if frequency_fixed else "invalid freq",
            frequency_fixed=frequency_fixed,
            pin_numbers=PinNumbers(into=0, out=1, open_drain=0x11, pull_up=1, pull_down=2),
            board_pins=board_pins,
            sources=_MANNERS_SOURCES,
        ),
        history=tuple(history),
        not_known=not_known or {},
        sources=(*_SOURCES, f"ports/stm32/boards/{board}/mpconfigboard.h (clock, RTC)", *sources),
    )


def _buses(clock: int, ahb: int, apb1: int, apb2: int) -> tuple[int, int, int]:
    hclk = clock // ahb
    return hclk, hclk // apb1, hclk // apb2
