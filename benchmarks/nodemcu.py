"""NodeMCU: heap that LFS saves in an application of 20 modules, image and reload times, bytes on the wire."""

from __future__ import annotations

import tempfile
import time

import serial

from harness.link.session import Port, Session
from harness.paths import fixtures_dir
from harness.reference.nodemcu.lfs_build import build, build_file
from harness.reference.nodemcu.lua_reference import LuaReference
from harness.runtimes.nodemcu.nodemcu_board import NodeMcuBoard
from harness.runtimes.program import Program
from harness.virtual.bench import VirtualSpec, start
from harness.virtual.nodemcu.nodemcu_firmware import nodemcu_image

_FLASH = 4 * 1024 * 1024


class _Counting:
    """A port that counts what goes either way."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self.sent = self.received = 0

    @property
    def timeout(self) -> float | None:
        return self._port.timeout

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        self._port.timeout = seconds

    @property
    def in_waiting(self) -> int:
        return self._port.in_waiting

    def read(self, size: int = 1) -> bytes:
        data = self._port.read(size)
        self.received += len(data)
        return data

    def write(self, data: bytes) -> int | None:
        self.sent += len(data)
        return self._port.write(data)

    def close(self) -> None:
        self._port.close()


def main() -> dict[str, float]:
    sources = {path.name: path.read_bytes() for path in sorted((fixtures_dir() / "lua" / "app").glob("*.lua"))}
    names = [name.removesuffix(".lua") for name in sources]
    started = time.perf_counter()
    image = build_file(sources, build_time=1)
    figures = {
        "modules": float(len(names)),
        "image build ms": 1e3 * (time.perf_counter() - started),
        "image in flash, bytes": float(build(sources, build_time=1).size),
        "image file, bytes": float(len(image)),
    }
    figures |= _heap(sources, names, image)
    with tempfile.TemporaryDirectory() as folder:
        spec = VirtualSpec(id="nodemcu", chip="esp8266", state_dir=folder, flash_size=_FLASH, pty=True)
        spec.folder.mkdir(parents=True, exist_ok=True)
        spec.flash_file.write_bytes(nodemcu_image().ljust(_FLASH, b"\xff"))
        with start(spec) as running:
            port = _Counting(serial.Serial(str(running.pty), 115200))
            board = NodeMcuBoard(Session(port))
            board.enter()
            figures |= _wire(board, port, image)
            board.close()
    return figures


def _heap(sources: dict[str, bytes], names: list[str], image: bytes) -> dict[str, float]:
    """On the reference, whose model the virtual board shares."""
    vm = LuaReference()
    for name, source in sources.items():
        vm.put(name, source)
    inputs = {"names": names}
    ram = Program.load_lua("lfs_modules", **inputs, **{"from": "file"}).run(vm)
    fit = Program.load_lua("lfs_start", **inputs, **{"from": "file"}).run(vm)
    vm.soft_reset()
    vm.put("lfs.img", image)
    vm.soft_reset()
    if error := vm.reload_lfs("lfs.img"):
        raise RuntimeError(error)
    lfs = Program.load_lua("lfs_modules", **inputs, **{"from": "lfs"}).run(vm)
    begun = Program.load_lua("lfs_start", **inputs, **{"from": "lfs"}).run(vm)
    return {
        "heap of 20 modules loaded from files, bytes": sum(ram.value(name) for name in names),
        "heap of 20 modules loaded from LFS, bytes": sum(lfs.value(name) for name in names),
        "modules that fit when run from files": fit.value("modules"),
        "modules that fit when run from LFS": begun.value("modules"),
        "free heap with all of them from LFS, bytes": begun.value("free"),
    }


def _wire(board: NodeMcuBoard, port: _Counting, image: bytes) -> dict[str, float]:
    def put(name: str, data: bytes) -> tuple[float, float, float]:
        port.sent = port.received = 0
        started = time.perf_counter()
        board.put(name, data)
        return port.sent / len(data), port.received / len(data), time.perf_counter() - started

    _ = board.facts
    text = (fixtures_dir() / "lua" / "app" / "json.lua").read_bytes() * 4
    sent_text, back_text, _seconds = put("text.lua", text)
    sent, back, seconds = put("lfs.img", image)
    board.soft_reset()
    started = time.perf_counter()
    if error := board.reload_lfs("lfs.img"):
        raise RuntimeError(error)
    return {
        "bytes sent per payload byte, Lua source": sent_text,
        "bytes sent per payload byte, LFS image": sent,
        "bytes that come back per payload byte, Lua source (echo)": back_text,
        "bytes that come back per payload byte, LFS image (echo)": back,
        "upload of the image over a pty, s": seconds,
        "upload of the image at 115200 baud by its bytes alone, s": max(sent, back) * len(image) * 10 / 115200,
        "reload to the prompt, s": time.perf_counter() - started,
    }
