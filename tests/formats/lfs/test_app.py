"""The application's modules do what their comments say, on the host's Lua 5.1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lupa import lua51

from harness.formats.lfs.read import read_image
from harness.reference.nodemcu.lfs_build import build_file
from tests.formats.lfs.lua_sources import APP

_CHECKS = sorted((Path(__file__).parent / "app").glob("*.lua"))
_IMAGE = read_image(build_file({file.name: file.read_bytes() for file in APP}))

_EXPECTED = {
    "json": b'{"a":{"t":true},"b":[1,2.5,null,"xA\\n"]}',
    "base64": b"YW55IGNhcm5hbCBwbGVhcw==\0\xffab",
    "cron": b"true",
    "ds18b20": 0x0191 * 625,
    "ring": b"23nil",
    "statistics": b"4 2",
    "template": b"<a&amp;><b><b>",
    "config": b"1883xline 1: port has to be from 1 to 65535",
    "mqtt": b"connected3a/bhi",
    "http_parser": b"POST/a b2abc",
    "http_server": b"7405",
    "scheduler": b"ab10",
    "state_machine": b"trueonfalse",
    "debounce": b"single",
    "pid": 33,
    "logger": b"1x1",
    "wifi_manager": b"connecting2",
    "telemetry": 11,
    "bme280": 2508,
    "main": b'2{"dropped":0,"readings":[{"n":"temperature","t":0,"u":"C","v":21.5}]}',
}


def test_every_module_is_checked() -> None:
    assert sorted(_EXPECTED) == [file.stem for file in _CHECKS] == [file.stem for file in APP]
    assert len(APP) == 20


@pytest.mark.parametrize("check", _CHECKS, ids=lambda check: check.stem)
def test_a_module_from_the_image_does_its_work(check: Path) -> None:
    lua: Any = lua51.LuaRuntime(encoding=None)
    chunks = lua.table_from({module.encode(): _IMAGE.chunk(module) for module in _IMAGE.modules})
    program = (
        b"local chunks, name, check = ... local function need(n) return assert(loadstring(chunks[n]))() end "
        b"return assert(loadstring(check))(need(name), need)"
    )
    assert lua.execute(program, chunks, check.stem.encode(), check.read_bytes()) == _EXPECTED[check.stem]
