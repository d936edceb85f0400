"""Relays on the network: the order is sent, and the relay is asked whether it did it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from harness.errors import BenchFault
from harness.power.http_relay import HttpRelay, RelayKind

Answer = tuple[int, bytes]


@contextmanager
def server(answer: Callable[[str, dict[str, str]], Answer]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            code, body = answer(parts.path, {key: value[0] for key, value in parse_qs(parts.query).items()})
            self.send_response(code)
            if code == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{web.server_port}"
        finally:
            web.shutdown()
            thread.join()


class Device:
    """One relay as its documentation describes it; ``stuck`` keeps the contact where it is."""

    def __init__(self, kind: str, channel: int, *, stuck: bool = False) -> None:
        self.kind, self.channel, self.stuck, self.closed = kind, channel, stuck, True

    def set(self, on: bool) -> None:
        if not self.stuck:
            self.closed = on

    def __call__(self, path: str, query: dict[str, str]) -> Answer:
        if self.kind == "tasmota" and path == "/cm":
            name, word = query["cmnd"].split()
            if name == f"Power{self.channel}":
                self.set(word == "on")
                return 200, json.dumps({name.upper(): "ON" if self.closed else "OFF"}).encode()
            return 200, b'{"Command":"Unknown"}'
        if self.kind == "shelly1" and path == f"/relay/{self.channel}":
            if "turn" in query:
                self.set(query["turn"] == "on")
            return 200, json.dumps({"ison": self.closed, "has_timer": False}).encode()
        if self.kind == "shelly2" and query.get("id") == str(self.channel):
            if path == "/rpc/Switch.Set":
                before = self.closed
                self.set(query["on"] == "true")
                return 200, json.dumps({"was_on": before}).encode()
            if path == "/rpc/Switch.GetStatus":
                return 200, json.dumps({"id": self.channel, "output": self.closed}).encode()
        return 404, b"not found"


KINDS: list[tuple[RelayKind, int]] = [("tasmota", 2), ("shelly1", 0), ("shelly2", 1)]


@pytest.mark.parametrize(("kind", "channel"), KINDS)
def test_the_contact_opens_and_closes(kind: RelayKind, channel: int) -> None:
    device = Device(kind, channel)
    with server(device) as url:
        relay = HttpRelay(kind, url + "/", channel)
        relay.off()
        assert not device.closed
        relay.on()
        assert device.closed


@pytest.mark.parametrize(("kind", "channel"), KINDS)
def test_a_relay_that_stays_on_is_not_believed_to_be_off(kind: RelayKind, channel: int) -> None:
    with (
        server(Device(kind, channel, stuck=True)) as url,
        pytest.raises(BenchFault, match="was switched off, and says"),
    ):
        HttpRelay(kind, url, channel).off()


@pytest.mark.parametrize(("kind", "channel"), KINDS)
def test_another_channel_is_refused_not_switched(kind: RelayKind, channel: int) -> None:
    device = Device(kind, channel)
    with server(device) as url, pytest.raises(BenchFault):
        HttpRelay(kind, url, channel + 1).off()
    assert device.closed


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((200, b"<html>\x1b[2J"), r"expected JSON, came '<html>\?\[2J'"),
        ((200, b'{"POWER1": {}}'), "does not say how it is"),
        ((200, b"[" * 60000), "expected JSON"),
        ((200, b"{}" + b" " * 100_000), "does not say how it is|expected JSON"),
        ((302, b""), "HTTP 302"),
        ((401, b""), "HTTP 401"),
    ],
)
def test_what_is_no_relay_is_a_bench_fault(answer: Answer, told: str) -> None:
    with server(lambda *_: answer) as url, pytest.raises(BenchFault, match=told):
        HttpRelay("tasmota", url, 1).off()


def test_nobody_there_is_a_bench_fault() -> None:
    with server(lambda *_: (200, b"{}")) as url:
        pass
    with pytest.raises(BenchFault, match="no answer"):
        HttpRelay("shelly1", url, 0, timeout=1).on()


def test_a_tasmota_with_one_relay_leaves_the_number_out() -> None:
    with server(lambda *_: (200, b'{"POWER":"ON"}')) as url:
        HttpRelay("tasmota", url, 1).on()
        with pytest.raises(BenchFault, match="does not say"):
            HttpRelay("tasmota", url, 2).on()
