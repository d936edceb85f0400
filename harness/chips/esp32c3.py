"""ESP32-C3: RISC-V. No EXT0 and no EXT1: pins GPIO0 to GPIO5 end a deep sleep by themselves."""

from __future__ import annotations

from harness.chips._esp32_port import esp32_port
from harness.chips._esp32_virtual import newer_parts, rom_words
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
            uarts=(0, 1),
            history=(
                Since(
                    "1.20.0",
                    "frequencies",
                    (20_000_000, 40_000_000, 80_000_000, 160_000_000, 240_000_000),
                    "d7a162516e: 240 MHz is refused",
                ),
            ),
        ),
        virtual=newer_parts(
            "esp32c3",
            title="ESP32C3",
            chip_id=5,
            magic=0x1B31_506F,
            pace_ns=15,
            spi=0x6000_2000,
            fuses=0x6000_8800,
            rtc_watchdog=(0x6000_80A8, 0x6000_8094, 0x6000_8090),
            rom=rom_words(
                "esp32c3-api1-20210207",
                "Feb  7 2021",
                "0xc",
                "0x4 (DOWNLOAD(USB/UART0/1))",
                restart=0x3,  # of the whole system, not of its one core alone
            ),
            loads_at=((0x3FCD_5810, 0x403C_C710, 0x403C_E710), 0x4038_0000),
            revision=(0, 4),
        ),
        sources=("ESP-IDF Programming Guide: Application Startup Flow, Memory Types", "esptool: Firmware Image Format"),
    ),
)
