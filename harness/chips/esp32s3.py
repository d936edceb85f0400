"""ESP32-S3: Xtensa LX7, two cores, native USB."""

from __future__ import annotations

from harness.chips._esp32_port import esp32_port
from harness.chips._esp32_virtual import newer_parts, rom_words
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
            uarts=(0, 1, 2),
        ),
        virtual=newer_parts(
            "esp32s3",
            title="ESP32S3",
            chip_id=9,
            magic=0x9,
            pace_ns=8,
            spi=0x6000_2000,
            fuses=0x6000_7000,
            rtc_watchdog=(0x6000_80B0, 0x6000_809C, 0x6000_8098),
            rom=rom_words("esp32s3-20210327", "Mar 27 2021", "0x8", "0x0 (DOWNLOAD(USB/UART0))"),
            loads_at=((0x3FCE_2820, 0x403C_8700, 0x403C_B700), 0x4037_4000),
            revision=(0, 2),
        ),
        sources=("ESP-IDF Programming Guide: Application Startup Flow, Memory Types", "esptool: Firmware Image Format"),
    ),
)
