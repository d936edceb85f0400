"""A lab on loopback: labgrid's own coordinator and exporters, with virtual boards behind what they export."""

from __future__ import annotations

import os
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

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vm-harness"
FOLDER = CACHE / "labgrid-26.0.1"
CLIENT = FOLDER / "bin" / "labgrid-client"

needs_labgrid = pytest.mark.skipif(
    not (FOLDER / "ready").exists(), reason="labgrid is not there: .ci/setup-labgrid installs it"
)


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
    """``folder`` is where the coordinator keeps its places."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
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
        """Who has ``place``: ``host/user``, or ``None``."""
        shown = self.client("-p", place, "show").split("\n")
        return next(line.removeprefix("  acquired: ") for line in shown if line.startswith("  acquired: "))

    def start_coordinator(self) -> None:
        self._coordinator = self._started(self._folder, "labgrid-coordinator", "-l", self.address)

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
            self._folder, "labgrid-exporter", "-c", self.address, "--name", name, "--hostname", "127.0.0.1", str(file)
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

    def make_place(self, name: str, match: str, **tags: str) -> None:
        self.client("-p", name, "create")
        if tags:
            self.client("-p", name, "set-tags", *(f"{key}={value}" for key, value in tags.items()))
        self.client("-p", name, "add-match", match)

    def wait_for_resource(self, path: str) -> None:
        until(lambda: path in self.client("resources"), 30, f"{path} is exported")

    def close(self) -> None:
        for process in (*self._exporters.values(), self._coordinator):
            _end(process, signal.SIGKILL)

    def _started(self, folder: Path, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (folder / f"{program}.log").open("ab") as log:
            return subprocess.Popen([str(FOLDER / "bin" / program), *arguments], cwd=folder, stdout=log, stderr=log)


def _end(process: subprocess.Popen[bytes] | None, number: signal.Signals) -> None:
    if process is not None and process.poll() is None:
        process.send_signal(number)
        process.wait(10)
