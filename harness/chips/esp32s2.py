"""ESP32-S2: Xtensa LX7, one core, native USB."""

from __future__ import annotations

from harness.chips._esp32_port import esp32_port
from harness.chips.record import Chip

CHIPS = (
    Chip(
        name="esp32s2",
        family="esp32",
        boot_offset=0x1000,
        flash_map=((0x3F00_0000, 0x3F_0000), (0x4008_0000, 0xB0_0000)),
        image_id=2,
        port=esp32_port(
            "esp32s2",
            since="1.15.0",
            timers=4,
            pins=47,
            clock_mhz=160,
            frequencies_mhz=(20, 40, 80, 160, 240),
            wakes_by=("timer", "ext0", "ext1", "touch", "ulp"),
            wake_pin=4,
        ),
        sources=("ESP-IDF Programming Guide: Application Startup Flow, Memory Types", "esptool: Firmware Image Format"),
    ),
)
