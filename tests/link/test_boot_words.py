"""What a start that went wrong is evidence of: pieces of public boot logs, and the advice that they are told with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.link.boot_words import cause, doubts
from harness.link.panics import find_panic, is_text

S3_START = b"ESP-ROM:esp32s3-20210327\r\nBuild:Mar 27 2021\r\nrst:0x1 (POWERON),boot:0x8 (SPI_FAST_FLASH_BOOT)\r\n"
OCTAL = S3_START + (
    b"Octal Flash Mode Enabled\r\nFor OPI Flash, Use Default Flash Boot Mode\r\nmode:SLOW_RD, clock div:1\r\n"
    b"load:0x3fce3808,len:0x44c\r\nentry 0x403c98d8\r\n\r\n"
)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            S3_START.replace(b"0x8 (SPI_FAST_FLASH_BOOT)", b"0x0 (DOWNLOAD(USB/UART0))"),
            "its boot strap (GPIO9) was low",
        ),
        (b"\r\n ets Jan  8 2013,rst cause:1, boot mode:(1,7)\r\n", "its boot strap (GPIO9) was low"),
        (b"\r\nBrownout detector was triggered\r\n\r\n", "the supply dips"),
        (b"rst:0xf (BROWNOUT_RST),boot:0xc (SPI_FAST_FLASH_BOOT)\r\n", "the supply dips"),
        (b"E (92) cpu_start: Octal Flash option selected, but EFUSE not configured!\r\n", "built for octal flash"),
        (OCTAL + b"assert failed: do_core_init startup.c:326 (flash_ret == ESP_OK)\r\n", "built for quad flash"),
        (
            OCTAL + b"E (31) spi_flash: Detected size(512k) smaller than the size in the binary image header(32768k). "
            b"Probe failed.\r\n",
            "built for quad flash",
        ),
        (
            b"E (171) spi_flash: Detected size(8192k) smaller than the size in the binary image header(16384k). Probe "
            b"failed.\r\n",
            "declares more flash than the chip has",
        ),
        (b"E (51) boot_comm: mismatch chip ID, expected 0, found 9\r\n", "for another chip than its boot loader"),
        (b"E (40) boot_comm: chip revision check failed. Required >= v3.0, found v1.0.\r\n", "another revision"),
        (b"E cpu_start: Failed to init external RAM!\r\n\r\nabort() was called at PC 0x40376050\r\n", "needs PSRAM"),
        (b"E (77) secure_boot_v2: Secure boot V2 verification failed.\r\n", "only starts firmware that is signed"),
        (
            S3_START + b"SPIWP:0xee\r\nmode:QIO, clock div:1\r\nload:0x3fce3808,len:0x44c\r\nets_loader.c 78\r\n",
            "(QIO, 80 MHz)",
        ),
        (b"flash read err, 1000\r\nets_main.c 371 \r\n", "nothing at the place that the chip boots from"),
        (b"MicroPython v1.28.0 on 2026-01-01; Generic ESP32 module with ESP32\r\n>>> ", ""),
    ],
)
def test_advice_by_what_was_said(said: bytes, told: str) -> None:
    words = cause(said, strap="GPIO9")
    assert told in words if told else not words


def test_a_write_that_was_proved_is_not_blamed() -> None:
    said = b"mode:QIO, clock div:2\r\nload:0x3fff0030,len:6936\r\nload:0xffffffff,len:-1\r\n"
    assert "write the firmware" in cause(said)
    proved = cause(said, verified=True)
    assert "write the firmware" not in proved and "in the way that the image's header asks (QIO, 40 MHz)" in proved


@pytest.mark.parametrize(
    "line",
    [
        b"E (40) boot_comm: chip revision check failed. Required >= v3.0, found v1.0.",
        b"E cpu_start: Failed to init external RAM!",
        b"load:0xffffffff,len:-1",
        b"ets_loader.c 78",
    ],
)
def test_such_words_are_a_board_that_does_not_start(line: bytes) -> None:
    panic = find_panic(b"entry 0x400806a8\r\n" + line + b"\r\n", reset_expected=True)
    assert panic is not None and panic.kind == "boot" and panic.is_bench_fault


def test_a_lack_that_the_firmware_lives_with_is_a_doubt_and_no_cause() -> None:
    said = b"E (299) quad_psram: PSRAM ID read error: 0x00ffffff, PSRAM chip not found or not supported\r\n>>> "
    assert "its heap is internal RAM alone" in doubts(said)
    assert cause(said) == "" and doubts(b">>> ") == ""


@given(st.binary(max_size=400))
def test_anything_is_answered(data: bytes) -> None:
    assert isinstance(cause(data), str) and isinstance(doubts(data), str)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200))
def test_text_is_text_and_few_bytes_prove_nothing(text: str) -> None:
    assert is_text(text.encode())
    assert is_text(b"\x80" * 15) and not is_text(b"\x80" * 16)
