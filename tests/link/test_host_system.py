"""What differs between Linux and macOS about ports; macOS is asked here through what its programs print."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.link.host_system import LINUX, MACOS, busy_hint, this_system


def test_the_call_out_name_is_opened_on_macos_and_nothing_is_renamed_on_linux() -> None:
    assert MACOS.callout("/dev/tty.usbserial-0001") == "/dev/cu.usbserial-0001"
    assert MACOS.callout("/dev/cu.usbmodem1") == "/dev/cu.usbmodem1"
    assert LINUX.callout("/dev/tty.odd") == "/dev/tty.odd"


@pytest.mark.parametrize(("platform", "system"), [("linux", LINUX), ("darwin", MACOS), ("freebsd14", LINUX)])
def test_the_system_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch, platform: str, system: object) -> None:
    monkeypatch.setattr("harness.link.host_system.sys.platform", platform)
    assert this_system() is system


def test_a_tool_has_the_name_that_the_systems_packages_have() -> None:
    assert LINUX.install_command("openocd") == "sudo apt install openocd"
    assert MACOS.install_command("openocd") == "brew install open-ocd"
    assert MACOS.install_command("dfu-util") == "brew install dfu-util"


def test_lsof_is_read_as_its_manual_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "lsof"
    tool.write_text(f"#!/bin/sh\nprintf 'p{os.getpid()}\\ncpython\\np812\\ncscreen\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert MACOS.holder("/dev/cu.usbserial-0001") == ("screen", "812")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert MACOS.holder("/dev/cu.usbserial-0001") is None


def test_a_port_of_root_alone_is_told_as_that(tmp_path: Path) -> None:
    port = tmp_path / "ttyUSB0"
    port.touch()
    port.chmod(0o600)
    assert LINUX.no_permission(str(port)).startswith("only root may open it")
    assert "dialout or uucp" in LINUX.no_permission(str(tmp_path / "gone"))


def test_a_holder_that_is_known_gets_its_own_advice() -> None:
    assert "systemctl disable --now ModemManager" in busy_hint("ModemManager")
    assert "apt remove brltty" in busy_hint("brltty")
    assert busy_hint("") == busy_hint("minicom") and "close the program" in busy_hint("minicom")
