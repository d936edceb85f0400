"""ESP32-C6: RISC-V, EXT1 and no EXT0; GPIO0 to GPIO7 end a deep sleep."""

from __future__ import annotations

from harness.chips._esp32_port import esp32_port
from harness.chips._esp32_virtual import newer_parts, rom_words
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
            uarts=(0, 1),
        ),
        virtual=newer_parts(
            "esp32c6",
            title="ESP32C6",
            chip_id=13,
            magic=0x2CE0_806F,
            pace_ns=14,
            spi=0x6000_3000,
            fuses=0x600B_0800,
            major_at=(0x50, 22, 2),
            minor_at=(0x50, 18, 4),
            registers={0x54: 1},  # 4 MB of flash in its package
            rtc_watchdog=(0x600B_1C18, 0x600B_1C04, 0x600B_1C00),
            rom=rom_words(
                "esp32c6-20220919",
                "Sep 19 2022",
                "0xc",
                "0x4 (DOWNLOAD(USB/UART0/SDIO_FEI_FEO))",
                {
                    0x1: "POWERON",
                    0x3: "LP_SW_HPSYS",
                    0x5: "SLEEP_WAKEUP",
                    0x7: "TG0_WDT_HPSYS",
                    0xC: "SW_CPU",
                    0xF: "LP_BOD_SYS",
                    0x10: "LP_WDT_SYS",
                    0x15: "USB_UART_HPSYS",
                },
            ),
            loads_at=((0x4086_C410, 0x4086_E610, 0x4087_5728), 0x4080_0000),
            revision=(0, 1),
        ),
        sources=("ESP-IDF Programming Guide: Application Startup Flow, Memory Types", "esptool: Firmware Image Format"),
    ),
)
