"""ESP32-P4: RISC-V, two cores, no radio."""

from __future__ import annotations

from harness.chips._esp32_port import esp32_port
from harness.chips.record import MB, Chip

CHIPS = (
    Chip(
        name="esp32p4",
        family="esp32",
        boot_offset=0x2000,
        flash_map=((0x4000_0000, 192 * MB),),
        image_id=18,
        port=esp32_port(
            "esp32p4",
            since="1.27.0",
            timers=4,
            pins=55,
            clock_mhz=360,
            frequencies_mhz=(20, 40, 80, 160, 240),
            wakes_by=("timer", "ext1", "gpio", "touch"),
            not_known={
                "clock_hz": "it depends on the chip's revision and the build (ESP_DEFAULT_CPU_FREQ_MHZ)",
                "frequencies": "the port takes the ESP32's numbers, and ESP-IDF refuses those that the chip has not",
            },
            sources=("ports/esp32/boards/sdkconfig.p4", "ports/esp32/boards/sdkconfig.p4_pre_rev3"),
        ),
        sources=("ESP-IDF Programming Guide: Application Startup Flow, Memory Types", "esptool: Firmware Image Format"),
    ),
)
