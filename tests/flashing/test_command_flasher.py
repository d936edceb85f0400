"""Flashing by a program of the lab: what it gets, what is believed of it, and what is said when it fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BenchFault, FinalFault, UsageError
from harness.flashing.by_command import CommandFlasher, Programmer, filled_in
from harness.flashing.flasher import FlashImage

IMAGE = FlashImage(0x1000_0000, b"firmware" * 100, "firmware.uf2")


@pytest.fixture
def programmer(tmp_path: Path) -> Programmer:
    """Writes into a file per offset, and compares with it: as a programmer does with a chip."""
    tool = tmp_path / "programmer.py"
    tool.write_text(
        "import json, pathlib, sys\n"
        "job, folder, port, image, chip, offset = sys.argv[1:]\n"
        "with open(pathlib.Path(folder) / 'calls', 'a') as log:\n"
        "    log.write(json.dumps([job, port, chip, offset]) + '\\n')\n"
        "flash = pathlib.Path(folder) / offset\n"
        "data = pathlib.Path(image).read_bytes()\n"
        "if job == 'write':\n"
        "    flash.write_bytes(data)\n"
        "elif not flash.exists() or flash.read_bytes() != data:\n"
        "    sys.exit('differs at 0')\n"
    )
    rest = [str(tmp_path), "{port}", "{image}", "{chip}", "{offset}"]
    return Programmer([sys.executable, str(tool), "write", *rest], [sys.executable, str(tool), "verify", *rest], 20.0)


def test_it_is_written_verified_and_not_written_again(programmer: Programmer, tmp_path: Path) -> None:
    flasher = CommandFlasher(programmer, "generic", "/dev/ttyACM7")
    report = flasher.write([IMAGE])
    assert (report.written, report.unchanged, report.warnings) == (800, 0, [])
    assert (tmp_path / "0x10000000").read_bytes() == IMAGE.data
    again = flasher.write([IMAGE])
    assert (again.written, again.unchanged) == (0, 800)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == [
        '["verify", "/dev/ttyACM7", "generic", "0x10000000"]',
        '["write", "/dev/ttyACM7", "generic", "0x10000000"]',
        '["verify", "/dev/ttyACM7", "generic", "0x10000000"]',
        '["verify", "/dev/ttyACM7", "generic", "0x10000000"]',
    ]


def test_a_program_that_lies_is_found_out(programmer: Programmer) -> None:
    lying = Programmer([sys.executable, "-c", "pass"], programmer.verify, 20.0)
    with pytest.raises(
        BenchFault, match=r"firmware\.uf2 was written, and the verification does not hold.*differs at 0"
    ):
        CommandFlasher(lying, "generic", "/dev/ttyACM7").write([IMAGE])


def test_without_a_verification_the_report_says_that_nothing_was_proved(programmer: Programmer) -> None:
    report = CommandFlasher(Programmer(programmer.write), "generic", "p").write([IMAGE])
    assert report.written == 800
    assert "was not proved" in report.warnings[0]


def test_a_program_that_fails_or_hangs_or_is_not_there() -> None:
    def write(*command: str, timeout: float = 20.0) -> None:
        CommandFlasher(Programmer(command, timeout=timeout), "generic", "p").write([IMAGE])

    with pytest.raises(BenchFault, match=r"ended with code 3 and said: no board"):
        write(sys.executable, "-c", "import sys; print('no board'); sys.exit(3)")
    with pytest.raises(BenchFault, match=r"did not end within 0\.2 s"):
        write(sys.executable, "-c", "import threading; threading.Event().wait()", timeout=0.2)
    with pytest.raises(UsageError, match="there is no program"):
        write("no-such-programmer")
    with pytest.raises(FinalFault, match=r"no placeholder \{prot\}"):
        write("true", "{prot}")


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_value_stays_one_argument_and_is_not_read_again(before: str, value: str) -> None:
    escaped = before.replace("{", "{{").replace("}", "}}")
    assert filled_in(f"{escaped}{{port}}", {"port": value}) == before + value
