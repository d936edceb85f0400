"""ESP32-C2 (ESP8684): RISC-V, without RTC memory."""

from __future__ import annotations

from harness.chips._esp32_port import esp32_port
from harness.chips.record import MB, Chip

CHIPS = (
    Chip(
        name="esp32c2",
        family="esp32",
        boot_offset=0x0,
        flash_map=((0x3C00_0000, 4 * MB), (0x4200_0000, 4 * MB)),
        image_id=12,
        port=esp32_port(
            "esp32c2",
            since="1.26.0",
            timers=1,
            pins=21,
            clock_mhz=120,
            frequencies_mhz=(80, 120),
            wakes_by=("timer", "gpio"),
            not_known={
                "kept_bytes": "it has no RTC memory, and the port does not say what RTC().memory() holds after a sleep",
            },
            sources=("ports/esp32/boards/sdkconfig.c2", "ESP8684 Series Datasheet: Memory"),
        ),
        sources=("ESP-IDF Programming Guide: Application Startup Flow, Memory Types", "esptool: Firmware Image Format"),
    ),
)
