"""ESP8266: Xtensa L106, no port of the ESP32's kind."""

from __future__ import annotations

from harness.chips.port import Port, Reset, Since
from harness.chips.record import MB, Chip
from harness.chips.virtual_parts import EsptoolView, VirtualParts

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
