"""ESP32-H2: RISC-V without Wi-Fi. It starts with 96 MHz, which machine.freq() does not take."""

from __future__ import annotations

from harness.chips._esp32_port import esp32_port
from harness.chips.record import MB, Chip

CHIPS = (
    Chip(
        name="esp32h2",
        family="esp32",
        boot_offset=0x0,
        flash_map=((0x4200_0000, 16 * MB),),
        image_id=16,
        port=esp32_port(
            "esp32h2",
            since="1.29.0",
            timers=2,
            pins=28,
            clock_mhz=96,
            frequencies_mhz=(20, 40, 80),
            wakes_by=("timer", "ext1"),
        ),
        sources=("ESP-IDF Programming Guide: Application Startup Flow, Memory Types", "esptool: Firmware Image Format"),
    ),
)
