"""The questions for the chip's number and the running partition, executed as they are sent."""

import contextlib
import hashlib
import io
import sys
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest

from harness.errors import BenchFault
from harness.runtimes.interface import BoardRuntime, Facts, RunResult
from harness.runtimes.micropython import ask_who
from harness.runtimes.nodemcu import ask_who as ask_nodemcu
from harness.runtimes.who import ChipNames

DIGEST = hashlib.sha256(b"a build").digest()


def runtime(platform: str, answer: bytes | None = None) -> BoardRuntime:
    """Runs programs on this interpreter, or says what it was given to say."""

    def run(source: str) -> RunResult:
        if answer is not None:
            return RunResult(answer, b"", 0)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(source, {})
        return RunResult(out.getvalue().encode(), b"", 0)

    facts = Facts("micropython", "v1.26", "board with ESP32", 4, "A", 1, 0, {"platform": platform})
    return cast(BoardRuntime, SimpleNamespace(facts=facts, run=run))


def module(monkeypatch: pytest.MonkeyPatch, name: str, **content: Any) -> None:
    made = ModuleType(name)
    vars(made).update(content)
    monkeypatch.setitem(sys.modules, name, made)


class Partition:
    RUNNING = 1

    def __init__(self, which: int) -> None:
        assert which == self.RUNNING

    def info(self) -> tuple[object, ...]:
        return (0, 16, 0x1F0000, 0x1E0000, "ota_1", False)

    def readblocks(self, block: int, data: bytearray, offset: int) -> None:
        assert block == 0
        data[:] = (bytes(176) + DIGEST)[offset : offset + len(data)]


def test_an_esp32_tells_its_mac_and_the_build_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    module(monkeypatch, "machine", unique_id=lambda: bytes.fromhex("240ac4123456"))
    module(monkeypatch, "esp32", Partition=Partition)
    names = ask_who.chip_names(runtime("esp32"))
    assert names == ChipNames(
        "esp32", "board with ESP32", "240ac4123456", slot="ota_1 at 0x1f0000", elf_sha256=DIGEST.hex()
    )


def test_an_esp8266_tells_the_end_of_its_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    module(monkeypatch, "machine", unique_id=lambda: bytes.fromhex("56341200"))
    assert ask_who.chip_names(runtime("esp8266")).tail == "123456"


def test_circuitpython_has_another_name_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    module(monkeypatch, "machine")
    module(monkeypatch, "microcontroller", cpu=SimpleNamespace(uid=bytearray(b"\1\2\3\4\5\6")))
    assert ask_who.chip_names(runtime("Espressif")).unique == "010203040506"


def test_a_firmware_without_those_names_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("machine", "microcontroller", "network", "esp32"):
        monkeypatch.setitem(sys.modules, name, None)
    assert ask_who.chip_names(runtime("esp32")) == ChipNames("esp32", "board with ESP32")


@pytest.mark.parametrize("came", [b"", b"\x0201|02\x03", b"\x020|0\x03", b"\x02zz|zz\x03", b"\x02" + b"00" * 40 + b"|"])
def test_a_damaged_answer_is_no_other_board(came: bytes) -> None:
    for ask in (ask_who.chip_names, ask_nodemcu.chip_names):
        if ask is ask_nodemcu.chip_names and came == b"\x020|0\x03":
            continue
        with pytest.raises(BenchFault, match="arrived damaged"):
            ask(runtime("esp32", came))


@pytest.mark.parametrize(
    ("came", "names"),
    [
        (b"123456|123456", ChipNames("esp8266", "board with ESP32", "123456", "123456")),
        (b"0x240AC4123456|0x240AC4123456", ChipNames("", "board with ESP32", "240ac4123456")),
        (b"|", ChipNames("", "board with ESP32")),
    ],
)
def test_nodemcu_tells_its_chips_number(came: bytes, names: ChipNames) -> None:
    assert ask_nodemcu.chip_names(runtime("", b"\x02" + came + b"\x03")) == names
