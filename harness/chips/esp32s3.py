"""ESP32-S3: Xtensa LX7, two cores, native USB."""

from __future__ import annotations

from harness.chips._esp32_port import esp32_port
from harness.chips.record import MB, Chip

CHIPS = (
    Chip(
        name="esp32s3",
        family="esp32",
        boot_offset=0x0,
        flash_map=((0x3C00_0000, 32 * MB), (0x4200_0000, 32 * MB)),
        image_id=9,
        port=esp32_port(
            "esp32s3",
            since="1.18.0",
            timers=4,
            pins=49,
            clock_mhz=160,
            frequencies_mhz=(20, 40, 80, 160, 240),
            wakes_by=("timer", "ext0", "ext1", "touch", "ulp"),
            wake_pin=4,
        ),
        sources=("ESP-IDF Programming Guide: Application Startup Flow, Memory Types", "esptool: Firmware Image Format"),
    ),
)
