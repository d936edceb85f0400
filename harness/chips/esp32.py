"""ESP32: Xtensa LX6, the first of the family."""

from __future__ import annotations

from harness.chips._esp32_port import esp32_port
from harness.chips.record import MB, Chip
from harness.chips.virtual_parts import EsptoolView, RomWords, VirtualParts

_ROM = RomWords(
    greeting="ets Jul 29 2019 12:21:46\n\n",
    flash="boot:0x13 (SPI_FAST_FLASH_BOOT)",
    download="boot:0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))",
    before_load="configsip: 0, SPIWP:0xee\nclk_drv:0x00,q_drv:0x00,d_drv:0x00,cs0_drv:0x00,hd_drv:0x00,wp_drv:0x00\n"
    "mode:DIO, clock div:2\n",
    reasons={
        "power-on": (0x1, "POWERON_RESET"),
        "external": (0x1, "POWERON_RESET"),  # EN gives the same code as power
        "software": (0xC, "SW_CPU_RESET"),
        "bootloader": (0x3, "SW_RESET"),
        "deep-sleep": (0x5, "DEEPSLEEP_RESET"),
        "watchdog": (0x10, "RTCWDT_RTC_RESET"),
        "task-watchdog": (0xC, "SW_CPU_RESET"),  # the panic handler restarts, whatever called it
        "brown-out": (0xF, "RTCWDT_BROWN_OUT_RESET"),
        "panic": (0xC, "SW_CPU_RESET"),
    },
    first=True,
)

CHIPS = (
    Chip(
        name="esp32",
        family="esp32",
        boot_offset=0x1000,
        flash_map=((0x3F40_0000, 4 * MB), (0x400D_0000, 0x33_0000)),
        image_id=0,
        port=esp32_port(
            "esp32",
            since="1.9.4",
            timers=4,
            pins=40,
            clock_mhz=160,
            frequencies_mhz=(20, 40, 80, 160, 240),
            wakes_by=("timer", "ext0", "ext1", "touch", "ulp"),
            wake_pin=33,
            uarts=(0, 1, 2),
        ),
        virtual=VirtualParts(
            pace_ns=10,
            heap=57344,  # the port's first area
            board="ESP32",
            part="ESP32",
            # The real board has 2 MB of PSRAM beside the chip's RAM, which nothing here needs.
            circuitpython_region=327680,
            loads_at=((0x3FFF_0030, 0x4007_8000, 0x4008_0400), 0x4008_0000),
            esptool=EsptoolView(
                name="esp32",
                magic=0x00F01D83,
                rom_status=4,
                spi_base=0x3FF42000,
                spi_usr2=0x24,
                spi_w0=0x80,
                mac_at=0x3FF5A004,
                rom_can=frozenset({"flash", "mem", "reg", "spi", "md5", "deflate", "slow-read", "baud"}),
                registers={
                    0x3FF5A00C: 1 << 15 | 1 << 9,  # revision bit 0, package D0WD
                    0x3FF5A014: 1 << 20,  # revision bit 1
                    0x3FF6607C: 1 << 31,  # revision bit 2: all three set is revision 3
                    0x3FF40014: 347,  # UART divider: a 40 MHz crystal at 115200
                    # From these two the ROM works out its crystal: 800 * 15625 * 128 / 40 = 40 MHz. A host asks
                    # for a baud rate in proportion to it.
                    0x3FF5F06C: 800 << 7,
                    0x3FF5A010: 128,
                },
                # EFUSE_BLK0: ABS_DONE_0, FLASH_CRYPT_CNT, DISABLE_DL_ENCRYPT (TRM, "eFuse Controller").
                fuses={
                    "secure-boot": (0x3FF5A018, 1 << 4),
                    "flash-encryption": (0x3FF5A000, 1 << 20),
                    "no-encrypted-download": (0x3FF5A018, 1 << 7),
                },
                # Of three bits 0, 1, 3 and 7 are revisions 0 to 3 (ESP-IDF, "Chip Revision").
                major_bits=((0x3FF5A00C, 1 << 15), (0x3FF5A014, 1 << 20), (0x3FF6607C, 1 << 31)),
                minor_at=(0x3FF5A014, 24, 2),
                rom=_ROM,
            ),
        ),
        sources=("ESP-IDF Programming Guide: Application Startup Flow, Memory Types", "esptool: Firmware Image Format"),
    ),
)
