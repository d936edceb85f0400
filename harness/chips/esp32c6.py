"""ESP32-C6: RISC-V, EXT1 and no EXT0; GPIO0 to GPIO7 end a deep sleep."""

from __future__ import annotations

from harness.chips._esp32_port import esp32_port
from harness.chips.record import MB, Chip

CHIPS = (
    Chip(
        name="esp32c6",
        family="esp32",
        boot_offset=0x0,
        flash_map=((0x4200_0000, 16 * MB),),
        image_id=13,
        port=esp32_port(
            "esp32c6",
            since="1.24.0",
            timers=2,
            pins=31,
            clock_mhz=160,
            frequencies_mhz=(20, 40, 80, 160),
            wakes_by=("timer", "ext1", "gpio", "ulp"),
        ),
        sources=("ESP-IDF Programming Guide: Application Startup Flow, Memory Types", "esptool: Firmware Image Format"),
    ),
)
