"""A board that no method here can write: an RP2040, by picotool through ``flash.method: command``, from end to end.

Its console is a virtual board's with MicroPython; what stands between plays the rest of it: BOOTSEL, in which the
console is gone, and the flash. picotool is a stand-in.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.bench.attach import Options, attach
from harness.errors import BenchFault, UsageError
from harness.flashing.by_command import CommandFlasher, Programmer, touch_1200
from harness.flashing.flasher import FlashImage
from harness.formats import uf2
from harness.inventory.load import load_bench
from harness.inventory.model import Board
from harness.virtual.bench import RunningBoard

PAGE = Path(__file__).parents[2] / "docs" / "other-boards.md"
FAKE = Path(__file__).with_name("fake_picotool.py")
UF2 = uf2.build(bytes(range(256)) * 3)


class Pico:
    """``vm`` is where the VM's console is. The console's port is closed, and nothing listens there, in BOOTSEL."""

    def __init__(self, vm: str) -> None:
        self._vm = re.fullmatch(r"rfc2217://(.+):(\d+)", vm)
        assert self._vm is not None
        self.flash = b""
        self.log: list[str] = []
        self.bootsel = False
        self._console = socket.create_server(("127.0.0.1", 0))
        self.port = self._console.getsockname()[1]
        self.tool = socket.create_server(("127.0.0.1", 0))
        self._changed, self._change = socket.socketpair()
        self._over = False
        threading.Thread(target=self._serve_console, daemon=True).start()
        threading.Thread(target=self._serve_tool, daemon=True).start()

    def close(self) -> None:
        self._over = True
        self._change.send(b"x")
        for listener in (self.tool, self._console):
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _serve_console(self) -> None:
        import serial

        assert self._vm is not None
        while not self._over:
            try:
                client, _ = self._console.accept()
            except OSError:
                if self._over:
                    return
                self._changed.recv(1)  # out of BOOTSEL
                self._console = socket.create_server(("127.0.0.1", self.port))
                continue
            url = f"rfc2217://{self._vm[1]}:{self._vm[2]}?ign_set_control"
            chip = serial.serial_for_url(url, baudrate=115200, timeout=0)
            typed = b""
            with client, contextlib.suppress(OSError):
                while not self._over:
                    select.select([client], [], [], 0.01)
                    with contextlib.suppress(BlockingIOError):
                        client.setblocking(False)
                        data = client.recv(4096)
                        if not data:
                            break
                        typed = (typed + data)[-200:]
                        chip.write(data)
                    if said := chip.read(4096):
                        client.setblocking(True)
                        client.sendall(said)
                    if b"machine.bootloader()\x04" in typed:
                        self.log.append("BOOTSEL")
                        self.bootsel = True
                        self._console.close()
                        break
            chip.close()

    def _serve_tool(self) -> None:
        while True:
            try:
                line, _ = self.tool.accept()
            except OSError:
                return
            with line:
                reader = line.makefile("rb")
                what, size, suffix = reader.readline().decode().rstrip("\n").split(" ")
                data = reader.read(int(size))
                if (
                    self.bootsel and (said := f"{what} {suffix}".strip()) not in self.log[-1:]
                ):  # asked again while it waits
                    self.log.append(said)
                line.sendall(self._do(what, data).encode() + b"\n")

    def _do(self, what: str, data: bytes) -> str:
        if not self.bootsel:
            return "nobody"
        if what == "load":
            self.flash = data
        elif what == "verify":
            return "OK" if self.flash == data else "ERROR: The device contents did not match the file"
        elif what == "reboot":
            self.bootsel = False
            self._change.send(b"x")
        return "OK"


@pytest.fixture
def pico(vesp32: RunningBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pico]:
    tool = tmp_path / "bin" / "picotool"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
    tool.chmod(0o755)
    made = Pico(vesp32.url)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_PICO", str(made.tool.getsockname()[1]))
    yield made
    made.close()


def entry_of_the_page(folder: Path, port: int) -> Board:
    """The entry that the docs show, for this console."""
    found = re.search(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert found is not None
    text, count = re.subn(r"identity: \{.*\}", f'identity: {{url: "socket://127.0.0.1:{port}"}}', found[1])
    assert count == 1
    (folder / "RPI_PICO-v1.28.0.uf2").write_bytes(UF2)
    (folder / "boards.yaml").write_text(text)
    return load_bench(folder / "boards.yaml").boards[0]


def test_the_entry_of_the_docs_is_written_verified_started_and_tested(pico: Pico, tmp_path: Path) -> None:
    board = entry_of_the_page(tmp_path, pico.port)
    attached = attach(board, Options(tmp_path), lambda *_: None)
    try:
        assert attached.flashed is not None and attached.flashed.written == len(UF2)
        assert attached.flashed.warnings == []
        assert attached.runtime.run("print(6 * 7)").stdout == b"42\r\n"
    finally:
        attached.close()
    assert pico.flash == UF2
    assert pico.log == ["BOOTSEL", "verify .uf2", "load .uf2", "verify .uf2", "reboot"]
    pico.log.clear()
    attach(board, Options(tmp_path), lambda *_: None).close()
    assert pico.log == ["BOOTSEL", "verify .uf2", "reboot"]  # it is there already


def test_a_board_that_somebody_has_put_into_bootsel_is_written_too(pico: Pico, tmp_path: Path) -> None:
    board = entry_of_the_page(tmp_path, pico.port)
    attach(board, Options(tmp_path, flash=False), lambda *_: None).close()
    pico.bootsel = True
    programmer = Programmer(board.flash.command, board.flash.verify_command, 20.0, board.flash.start_command)

    def no_port() -> None:
        raise BenchFault("there is no such port")

    with CommandFlasher(programmer, "generic", "", enter=no_port) as flasher:
        assert flasher.write([FlashImage(0, UF2, "x.uf2")]).written == len(UF2)
    assert pico.log == ["verify .uf2", "load .uf2", "verify .uf2", "reboot"]


def test_a_loader_that_is_not_there_yet_is_waited_for(pico: Pico) -> None:
    came: list[str] = []

    def late(step: str, done: int, _total: int) -> None:
        came.append(step)
        if step == "write" and not done:  # it was asked for in vain, and is there now
            pico.bootsel = True

    with CommandFlasher(
        Programmer(["picotool", "load", "{image}"]), "generic", "", progress=late, enter=lambda: None
    ) as it:
        it.write([FlashImage(0, UF2, "x.uf2")])
    assert pico.flash == UF2 and came[0] == "entering the boot loader"


def test_a_start_that_fails_is_told_and_not_in_place_of_what_went_wrong_before() -> None:
    fails = [sys.executable, "-c", "import sys; sys.exit('no board to start')"]
    writes = [sys.executable, "-c", "pass"]
    with (
        pytest.raises(BenchFault, match=r"flash\.start_command.*no board to start"),
        CommandFlasher(Programmer(writes, start=fails), "generic", "p") as flasher,
    ):
        flasher.write([FlashImage(0, UF2, "x.uf2")])
    with (
        pytest.raises(BenchFault, match=r"flash\.command.*no board to start"),
        CommandFlasher(Programmer(fails, start=fails), "generic", "p") as flasher,
    ):
        flasher.write([FlashImage(0, UF2, "x.uf2")])


def test_a_touch_is_an_open_at_1200_baud() -> None:
    master, slave = os.openpty()
    try:
        touch_1200(os.ttyname(slave))
        assert termios.tcgetattr(master)[5] == termios.B1200
    finally:
        os.close(master)
        os.close(slave)


def test_a_vm_without_machine_bootloader_is_told_before_anything_is_done(tmp_path: Path) -> None:
    from harness.flashing.flasher import FlashJob
    from harness.flashing.methods import flasher_for

    flash = {"method": "command", "command": ["true"], "enter": "bootloader"}
    board = Board.model_validate(
        {"id": "b", "chip": "generic", "runtime": "circuitpython", "identity": {"port": "/dev/x"}, "flash": flash}
    )
    with pytest.raises(UsageError, match=r"machine\.bootloader\(\); circuitpython has none"):
        flasher_for(FlashJob(board, None, lambda *_: None))
