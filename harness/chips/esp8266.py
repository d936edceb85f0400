"""ESP8266: Xtensa L106, no port of the ESP32's kind."""

from __future__ import annotations

from harness.chips.manners import LITTLEFS_FILE, XTENSA, Manners, PinNumbers
from harness.chips.port import Port, Reset, Since
from harness.chips.record import MB, Chip
from harness.chips.virtual_parts import EsptoolView, VirtualParts

_BOOT_PY = b"""\
# Runs at every start of the chip, at the end of a deep sleep too, before main.py.
#import esp
#esp.osdebug(None)
import os, machine
#os.dupterm(None, 1) # no REPL on UART 0
import gc
#import webrepl
#webrepl.start()
gc.collect()
"""

_MANNERS = Manners(
    platform="esp8266",
    build="ESP8266_GENERIC-FLASH_2M_ROMFS",
    arch=XTENSA,
    files_at="/",
    path=("/lib", "/"),
    filesystem="LittleFS",
    open_file=LITTLEFS_FILE,
    first_files=(("boot.py", _BOOT_PY),),
    first_words=b"Performing initial setup\r\n",
    release="2.2.0-dev(9422289)",
    frequency_refused="frequency can only be either 80Mhz or 160MHz",
    pin_numbers=PinNumbers(into=0, out=1, open_drain=2, pull_up=1, pull_down=None),
    no_pins=frozenset({6, 7, 8, 11}),
    sources={
        "platform": "ports/esp8266/mpconfigport.h (MICROPY_PY_SYS_PLATFORM), extmod/modos.c",
        "thread": "py/modsys.c (MICROPY_PY_THREAD is off)",
        "build": "py/mkrules.mk (MICROPY_BOARD_BUILD_NAME), ports/esp8266/boards/ESP8266_GENERIC",
        "arch": "py/persistentcode.h (MPY_FEATURE_ARCH)",
        "files_at": "ports/esp8266/modules/_boot.py",
        "path": "py/runtime.c (mp_init), extmod/vfs.c (mp_vfs_mount_romfs_protected), ports/esp8266/main.c",
        "open_file": "extmod/vfs_lfs.c, extmod/vfs_lfsx.c (cache_size), lib/littlefs/lfs2.h (lfs2_file)",
        "first_files": "ports/esp8266/modules/inisetup.py",
        "frequency": "ports/esp8266/modmachine.c (mp_machine_get_freq, mp_machine_set_freq)",
        "pins": "ports/esp8266/machine_pin.c (pyb_pin_obj, mp_obj_get_pin_obj)",
    },
)

_PORT = Port(
    name="esp8266",
    family="esp8266",
    since="1.2",
    constants={
        "PWRON_RESET": 0,
        "WDT_RESET": 1,
        "SOFT_RESET": 4,
        "DEEPSLEEP_RESET": 5,
        "HARD_RESET": 6,
        "DEEPSLEEP": 4,
    },
    cause_of={
        Reset.POWER_ON: 0,
        Reset.PIN: 6,
        Reset.MACHINE: 4,
        Reset.WATCHDOG: 1,
        Reset.DEEP_SLEEP: 5,
        Reset.SOFT: 4,
    },
    queue_depth=4,
    rtc_memory=492,
    hard_timer=True,
    wakes_by=("RTC alarm, by GPIO16 wired to RST",),
    clock_hz=80_000_000,
    frequencies=(80_000_000, 160_000_000),
    unique_id=bytes.fromhex("00000001"),
    pins=17,
    rtc_fraction=1000,
    wires=(("16", "RST"),),
    manners=_MANNERS,
    history=(Since("1.27.0", "hard_timer", False, "e7aa2a523c: Timer knows the word hard"),),
    sources=(
        "ports/esp8266/modmachine.c (constants, freq, Timer) with the SDK's rst_info.h (REASON_…)",
        "py/mpconfig.h (MICROPY_SCHEDULER_DEPTH, which the port leaves as it is)",
        "ports/esp8266/machine_rtc.c (MEM_USER_MAXLEN)",
        "ports/esp8266/machine_pin.c",
    ),
)

CHIPS = (
    Chip(
        name="esp8266",
        family="esp8266",
        boot_offset=0x0,
        flash_map=((0x4020_0000, 1 * MB),),
        port=_PORT,
        virtual=VirtualParts(
            pace_ns=30,
            heap=38912,  # the port's static array
            board="ESP8266",
            part="ESP8266",
            esptool=EsptoolView(
                name="esp8266",
                magic=0xFFF0C101,
                rom_status=2,
                spi_base=0x60000200,
                spi_usr2=0x24,
                spi_w0=0x40,
                mac_at=0x3FF00050,
                erase_defect=True,
                rom_can=frozenset({"flash", "mem", "reg"}),
                registers={
                    0x60000014: 451,  # UART divider: a 26 MHz crystal at 115200
                },
            ),
        ),
        sources=("esptool documentation: Firmware Image Format", "ESP8266 Technical Reference: memory map"),
    ),
)
