"""What esptool does for each packet that it writes, and nobody reads."""

from __future__ import annotations

import importlib.util
import io

import pytest
from esptool import loader, util

from harness.flashing.esptool_trace import leave_out


class Port(io.BytesIO):
    timeout = 1.0


def test_a_packet_is_not_made_into_text(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def hexify(data: bytes, *_: object) -> str:
        made.append(len(data))
        return ""

    # As esptool has it, whatever an earlier test of this process has flashed.
    spec = importlib.util.find_spec("esptool.loader")
    assert spec is not None and spec.loader is not None
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    monkeypatch.setattr(fresh, "hexify", hexify)
    monkeypatch.setattr(loader, "HexFormatter", fresh.HexFormatter)
    written = loader.ESPLoader.__new__(loader.ESPLoader)
    written._port, written._trace_enabled = Port(), False
    written.write(bytes(range(200)))
    told_before = len(made)
    leave_out()
    written.write(bytes(range(200)))
    assert told_before and len(made) == told_before, "esptool no longer does it: this module can go"
    assert util.hexify(b"\x01") == "01"
