"""A lab on loopback: labgrid's own coordinator and exporters, with virtual boards behind what they export."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vm-harness"
FOLDER = CACHE / "labgrid-26.0.1"
CLIENT = FOLDER / "bin" / "labgrid-client"

needs_labgrid = pytest.mark.skipif(
    not (FOLDER / "ready").exists(), reason="labgrid is not there: .ci/setup-labgrid installs it"
)


#: A suite of one scenario, to which others can be added; it asserts a figure that only a VM that runs can give.
SUITE = """
import time
from pathlib import Path

import pytest

from harness.judging.figures import Figure
from harness.judging.limits import exactly
from harness.kinds import STATE

ANSWER = Figure("answer", STATE, limit=exactly("42"))
pytestmark = pytest.mark.runtime("micropython")


def test_answers(scenario):
    scenario.take(ANSWER, scenario.board.run("print(6*7)").stdout.strip().decode())
"""


def serial_resource(url: str) -> str:
    """An exporter's ``NetworkSerialPort`` (a line of YAML, for a group) for the port that a virtual board serves."""
    port = int(url.rpartition(":")[2].partition("?")[0].strip("/"))
    return f"  NetworkSerialPort: {{host: 127.0.0.1, port: {port}, speed: 115200, protocol: rfc2217}}\n"


def ended(process: subprocess.Popen[str], within: float = 120) -> tuple[int, str]:
    """The exit code and the output of a command that ends by itself."""
    try:
        out, _ = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        process.kill()
        out, _ = process.communicate()
        pytest.fail(f"it went on for {within:g} s: {out}")
    return process.returncode, out


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], object], within: float, what: str) -> None:
    """Wait for a ``condition`` that somebody else's process brings about."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, f"not within {within:g} s: {what}"
        time.sleep(0.05)


class Relay:
    """A power switch of labgrid's model ``rest``: one value that can be read and written. Off cuts nothing."""

    def __init__(self) -> None:
        self.orders: list[str] = []
        relay = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self, body: bytes = b"") -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                self._answer((relay.orders or ["1"])[-1].encode())

            def do_PUT(self) -> None:
                relay.orders.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self._answer()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/{{index}}/value"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class RealLab:
    """``places``: for each, what it matches, and its tags. ``folder`` is where the coordinator keeps them."""

    def __init__(self, folder: Path, places: dict[str, tuple[str, dict[str, str]]]) -> None:
        self._folder = folder
        kept = {}
        for name, (match, tags) in places.items():
            exporter, group, kind = match.split("/")
            matched = {"exporter": exporter, "group": group, "cls": kind, "name": None, "rename": None}
            kept[name] = {
                "aliases": [],
                "comment": "",
                "created": 0.0,
                "changed": 0.0,
                "matches": [matched],
                "tags": tags,
            }
        (folder / "places.yaml").write_text(yaml.safe_dump(kept))
        self.address = f"127.0.0.1:{free_port()}"
        self._coordinator: subprocess.Popen[bytes] | None = None
        self._exporters: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What the harness is to be started with."""
        told = {"LG_COORDINATOR": self.address, "HARNESS_LABGRID_CLIENT": str(CLIENT)}
        return {**os.environ, **told, "LG_HOSTNAME": "desk", "LG_USERNAME": "ann"}

    def client(self, *arguments: str, user: str = "ann", check: bool = True) -> str:
        """What labgrid-client prints for ``user`` of the host ``desk``."""
        done = subprocess.run(
            [str(CLIENT), *arguments],
            env={**self.environment, "LG_USERNAME": user},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0 or not check, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def acquired(self, place: str) -> str:
        """Who has ``place``, by the coordinator's own log, as ``host/user``; empty: nobody."""
        said = re.findall(
            rf"^{re.escape(place)}: place (?:acquired by (.*)|released)$", self._log("coordinator").read_text(), re.M
        )
        return said[-1] if said else ""

    @property
    def acquired_before(self) -> set[str]:
        """The places that somebody had since the coordinator started."""
        return set(re.findall(r"^(\S+): place acquired by ", self._log("coordinator").read_text(), re.M))

    def start_coordinator(self) -> None:
        self._coordinator = self._started("coordinator", "labgrid-coordinator", "-l", self.address)

        def up() -> bool:
            with socket.socket() as probe:
                host, _, port = self.address.partition(":")
                return probe.connect_ex((host, int(port))) == 0

        until(up, 30, "the coordinator listens")

    def kill_coordinator(self) -> None:
        _end(self._coordinator, signal.SIGKILL)

    def start_exporter(self, name: str, resources: str) -> None:
        """``resources`` is the exporter's YAML."""
        file = self._folder / f"{name}.yaml"
        file.write_text(resources)
        self._exporters[name] = self._started(
            name, "labgrid-exporter", "-c", self.address, "--name", name, "--hostname", "127.0.0.1", str(file)
        )

    @property
    def coordinator_runs(self) -> bool:
        return self._coordinator is not None and self._coordinator.poll() is None

    def exporter_runs(self, name: str) -> bool:
        return name in self._exporters and self._exporters[name].poll() is None

    def stop_exporter(self, name: str) -> None:
        """Without a word to the coordinator."""
        if name in self._exporters:
            _end(self._exporters.pop(name), signal.SIGKILL)

    def wait_for_exporter(self, name: str) -> None:
        """Until it has exported its serial port."""
        queued = re.compile(r"queued update for resource \S+/NetworkSerialPort")
        until(lambda: queued.search(self._log(name).read_text()), 60, f"{name} exports")

    def close(self) -> None:
        for process in (*self._exporters.values(), self._coordinator):
            _end(process, signal.SIGKILL)

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _started(self, name: str, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with self._log(name).open("wb") as log:
            return subprocess.Popen(
                [str(FOLDER / "bin" / program), *arguments],
                cwd=self._folder,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdout=log,
                stderr=log,
            )


def _end(process: subprocess.Popen[bytes] | None, number: signal.Signals) -> None:
    if process is not None and process.poll() is None:
        process.send_signal(number)
        process.wait(10)
