"""ESP32-C5: RISC-V, EXT1 and no EXT0."""

from __future__ import annotations

from harness.chips._esp32_port import esp32_port
from harness.chips.record import MB, Chip

CHIPS = (
    Chip(
        name="esp32c5",
        family="esp32",
        boot_offset=0x2000,
        flash_map=((0x4200_0000, 32 * MB),),
        image_id=23,
        port=esp32_port(
            "esp32c5",
            since="1.27.0",
            timers=2,
            pins=29,
            clock_mhz=240,
            frequencies_mhz=(20, 40, 80, 160, 240),
            wakes_by=("timer", "ext1", "gpio", "ulp"),
            sources=("ports/esp32/boards/mpconfigboard_esp32c5_common.cmake (240 MHz)",),
        ),
        sources=("ESP-IDF Programming Guide: Application Startup Flow, Memory Types", "esptool: Firmware Image Format"),
    ),
)
