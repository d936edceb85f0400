"""A board whose application prints, sleeps or restarts by itself: it is got hold of, spoken to, and set aside."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.bench.attach import AttachedBoard, Options, attach
from harness.errors import Refused
from harness.inventory.load import load_bench
from harness.inventory.schema import json_schema
from harness.runtimes.abilities import ASIDE
from harness.runtimes.ask_names import read_facts
from harness.runtimes.interface import RunResult
from harness.runtimes.program import Program

BENCH = """
boards:
  - id: board
    chip: {chip}
    runtime: {runtime}
    virtual: {{{virtual}}}
    firmware: {{build: virtual}}
    application: {application}
"""
#: Sleeps soon after it starts, and prints what a ROM prints as well. With no wait or loop before the sleep no Ctrl-C
#: could end it on any board: only there a VM looks at what is pending (MicroPython ``py/vm.c``).
SLEEPS = b"""import machine, time
print('rst:0x1 (POWERON_RESET),boot:0x13')
time.sleep_ms(100)
machine.deepsleep(300)
"""
#: Prints from a timer: words of a person, of a ROM, of a crash.
TICKS = b"""import machine
said = ['21.5 C', 'invalid header: 0xffffffff', 'Guru Meditation Error: Core  0 panic\\'ed (LoadProhibited)']
def tick(timer):
    said.append(said.pop(0))
    print(said[0])
timer = machine.Timer(0)
timer.init(period=30, mode=machine.Timer.PERIODIC, callback=tick)
"""
LUA_TICKS = b't = tmr.create() t:alarm(40, tmr.ALARM_AUTO, function() print("temp 21.5") end)\n'
LUA_SILENT = b"uart.setup(0, 115200, 8, 0, 1, 0)\n"


@contextmanager
def board(
    folder: Path, *, chip: str = "esp32", runtime: str = "micropython", application: str = "keep", virtual: str = ""
) -> Iterator[AttachedBoard]:
    file = folder / "boards.yaml"
    file.write_text(BENCH.format(chip=chip, runtime=runtime, application=application, virtual=virtual))
    (described,) = load_bench(file).boards
    attached = attach(described, Options(folder), lambda *_: None)
    try:
        yield attached
    finally:
        attached.close()


@pytest.mark.parametrize("application", [SLEEPS, TICKS], ids=["sleeps soon", "prints from a timer"])
def test_an_application_does_not_keep_the_harness_out(tmp_path: Path, application: bytes) -> None:
    with board(tmp_path) as first:
        first.runtime.put("main.py", application)
    with board(tmp_path) as again:
        assert again.runtime.run("print(6 * 7)").stdout == b"42\r\n"
        assert again.runtime.get("main.py") == application


def test_programs_and_files_travel_between_what_a_timer_prints(tmp_path: Path) -> None:
    with board(tmp_path) as attached:
        runtime, data = attached.runtime, bytes(range(256)) * 8
        runtime.run(TICKS.decode())
        for index in range(6):
            source = f"import time\nagent.bytes('a', {index})\ntime.sleep_ms(70)\nagent.bytes('b', 2)\nagent.done()\n"
            decoded = Program("noisy", source).run(runtime)
            assert (decoded.value("a"), decoded.value("b")) == (index, 2)
        runtime.put("data.bin", data)
        assert runtime.get("data.bin") == data
        assert b"21.5 C" in runtime.run("import time\ntime.sleep_ms(300)").stdout


@pytest.mark.parametrize("application", [LUA_TICKS, LUA_SILENT], ids=["prints from a timer", "turns the echo off"])
def test_a_lua_application_does_not_keep_the_harness_out(tmp_path: Path, application: bytes) -> None:
    with board(tmp_path, chip="esp8266", runtime="nodemcu") as first:
        first.runtime.put("init.lua", application)
    with board(tmp_path, chip="esp8266", runtime="nodemcu") as again:
        assert b"42" in again.runtime.run("print(6 * 7)").stdout.split()
        again.runtime.put("data.bin", bytes(range(256)))
        assert again.runtime.get("data.bin") == bytes(range(256))


def test_an_application_is_set_aside_and_put_back(tmp_path: Path) -> None:
    with board(tmp_path) as first:
        first.runtime.put("main.py", TICKS)
    with board(tmp_path, application="aside") as run:
        names = run.runtime.run("import os\nprint(os.listdir())").stdout
        assert b"'main.py'" not in names and (ASIDE + "main.py").encode() in names
        run.runtime.hard_reset()
        assert run.runtime.run("import time\ntime.sleep_ms(200)").stdout == b""
    with board(tmp_path) as after:
        assert after.runtime.get("main.py") == TICKS
        assert ASIDE.encode() not in after.runtime.run("import os\nprint(os.listdir())").stdout


def test_a_lua_application_is_set_aside_and_put_back(tmp_path: Path) -> None:
    """Its name while it is aside begins as those that a sweep takes off the board."""
    with board(tmp_path, chip="esp8266", runtime="nodemcu") as first:
        first.runtime.put("init.lua", LUA_TICKS)
    with board(tmp_path, chip="esp8266", runtime="nodemcu", application="aside") as run:
        assert b"init.lua false" in run.runtime.run('print("init.lua", file.exists("init.lua"))').stdout.replace(
            b"\t", b" "
        )
        assert run.runtime.get(ASIDE + "init.lua") == LUA_TICKS
    with board(tmp_path, chip="esp8266", runtime="nodemcu") as after:
        assert after.runtime.get("init.lua") == LUA_TICKS


def test_what_a_killed_run_left_aside_is_put_back_by_the_next(tmp_path: Path) -> None:
    with board(tmp_path) as killed:  # what is on the board is all that a kill -9 leaves
        killed.runtime.put(ASIDE + "main.py", SLEEPS)
    with board(tmp_path) as after:
        assert after.runtime.get("main.py") == SLEEPS


def test_a_file_that_took_the_place_of_one_that_is_aside_is_left_alone(tmp_path: Path) -> None:
    with board(tmp_path) as killed:
        killed.runtime.put(ASIDE + "main.py", b"# old\n")
        killed.runtime.put("main.py", b"# new\n")
    with board(tmp_path) as after:
        assert after.runtime.get("main.py") == b"# new\n"
        assert after.runtime.get(ASIDE + "main.py") == b"# old\n"
    with pytest.raises(Refused, match="main.py"), board(tmp_path, application="aside"):
        pass


def test_the_key_is_in_the_schema() -> None:
    assert "application" in json_schema()["$defs"]["Board"]["properties"]


@pytest.mark.parametrize("language", ["de", "xx"])
def test_circuitpython_is_understood_in_any_language(tmp_path: Path, language: str) -> None:
    with board(tmp_path, runtime="circuitpython", virtual=f"language: {language}") as attached:
        runtime = attached.runtime
        assert runtime.run_code("print('mine')") == (b"mine\r\n",)  # type: ignore[attr-defined]
        reload = "import supervisor\nprint('one')\nsupervisor.reload()"
        assert runtime.run_code(reload) == (b"one\r\n", b"Hello World!\r\n")  # type: ignore[attr-defined]
        (failed,) = runtime.run_code("raise ValueError('x')")  # type: ignore[attr-defined]
        assert b"ValueError: x" in failed and b"Traceback" not in failed
        restart = runtime.run_to_reset(
            f"{Program.load('cp_sleep', ms=50, pin=None, settle_ms=30).whole()}", within=10.0
        )
        assert restart.silent > 0.04
        runtime.soft_reset()
        assert runtime.run("print(6 * 7)").stdout == b"42\r\n"


def test_the_name_of_a_board_is_not_all_ascii() -> None:
    text = "circuitpython|3.4.0; CircuitPython 9|Prüfstand „ŝ“ mit ESP32|4|16|64000|0|ESP32||31".encode()
    said = b"\x02" + text + b"|%08x\x03" % zlib.crc32(text)
    assert read_facts(lambda _source: RunResult(said, b"", 0.0)).machine == "Prüfstand „ŝ“ mit ESP32"
