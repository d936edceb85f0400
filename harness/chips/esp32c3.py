"""ESP32-C3: RISC-V. No EXT0 and no EXT1: pins GPIO0 to GPIO5 end a deep sleep by themselves."""

from __future__ import annotations

from harness.chips._esp32_port import esp32_port
from harness.chips.port import Since
from harness.chips.record import MB, Chip

CHIPS = (
    Chip(
        name="esp32c3",
        family="esp32",
        boot_offset=0x0,
        flash_map=((0x3C00_0000, 8 * MB), (0x4200_0000, 8 * MB)),
        image_id=5,
        port=esp32_port(
            "esp32c3",
            since="1.17.0",
            timers=2,
            pins=22,
            clock_mhz=160,
            frequencies_mhz=(20, 40, 80, 160),
            wakes_by=("timer", "gpio"),
            history=(
                Since(
                    "1.20.0",
                    "frequencies",
                    (20_000_000, 40_000_000, 80_000_000, 160_000_000, 240_000_000),
                    "d7a162516e: 240 MHz is refused",
                ),
            ),
        ),
        sources=("ESP-IDF Programming Guide: Application Startup Flow, Memory Types", "esptool: Firmware Image Format"),
    ),
)
