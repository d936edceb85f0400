"""What the builds of one firmware have in common."""

from __future__ import annotations

import pytest

from harness.bench.firmware_record import FirmwareRecord


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("ESP32_GENERIC-20250809-v1.26.0.bin", "ESP32_GENERIC"),
        ("ESP32_GENERIC-v1.28.0.bin", "ESP32_GENERIC"),
        ("ESP32_GENERIC-20251120-v1.28.0-preview.12.g1a2b3c4d5.bin", "ESP32_GENERIC"),
        ("ESP8266_GENERIC-FLASH_2M_ROMFS-v1.28.0.bin", "ESP8266_GENERIC-FLASH_2M_ROMFS"),
        ("adafruit-circuitpython-feather_m4-en_US-9.2.1.uf2", "adafruit-circuitpython-feather_m4-en_US"),
        ("virtual firmware (leak64)", "virtual firmware"),
        ("firmware.bin", "firmware"),
        ("v1.28.0.bin", "v1.28.0.bin"),
        ("as found", "as found"),
        ("", ""),
    ],
)
def test_the_line_of_a_firmware_is_its_name_without_what_tells_builds_apart(name: str, line: str) -> None:
    assert FirmwareRecord(name, "", "").line == line
