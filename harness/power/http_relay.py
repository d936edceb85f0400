"""Power through a relay or socket with an HTTP interface on the bench's own network.

Tasmota documentation, "Commands", "With Web Requests"; Shelly API reference, "Gen1", /relay/{index}, and "Gen2+",
Switch.Set and Switch.GetStatus. Each order is followed by the question how the relay is now. Without passwords:
a bench file holds no secrets.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from harness.errors import BenchFault
from harness.inventory.model import Power
from harness.link.panics import printable
from harness.power.switch import SwitchMethod

RelayKind = Literal["tasmota", "shelly1", "shelly2"]

_MAX_ANSWER = 64 * 1024


@dataclass(frozen=True)
class HttpRelay:
    """``url`` as ``http://relay-3``; ``channel`` as the relay counts: Tasmota from 1, Shelly from 0.

    ``timeout`` of one request in seconds, from the connection to the last byte.
    """

    kind: RelayKind
    url: str
    channel: int
    timeout: float = 5.0

    @property
    def name(self) -> str:
        return f"{self.kind} relay {self.channel} at {self.url}"

    def on(self) -> None:
        self._switch(True)

    def off(self) -> None:
        self._switch(False)

    def _switch(self, on: bool) -> None:
        word = "on" if on else "off"
        if self.kind == "tasmota":
            state = _tasmota_state(self._get(f"/cm?cmnd={quote(f'Power{self.channel} {word}')}"), self.channel)
        elif self.kind == "shelly1":
            self._get(f"/relay/{self.channel}?turn={word}")
            state = _truth(self._get(f"/relay/{self.channel}"), "ison")
        else:
            self._get(f"/rpc/Switch.Set?id={self.channel}&on={'true' if on else 'false'}")
            state = _truth(self._get(f"/rpc/Switch.GetStatus?id={self.channel}"), "output")
        if state is None:
            raise BenchFault(
                f"{self.name}: its answer does not say how it is", hint="is power.relay the right kind for this device?"
            )
        if state is not on:
            raise BenchFault(f"{self.name}: was switched {word}, and says it is {'on' if state else 'off'}")

    def _get(self, path: str) -> Any:
        at = urlsplit(self.url.rstrip("/"))
        late = threading.Event()
        kind = HTTPSConnection if at.scheme == "https" else HTTPConnection
        try:
            connection = kind(at.hostname or "", at.port, timeout=self.timeout)
            # A timeout of the socket's own bounds one wait, and a device that sends a byte now and then has many.
            end = threading.Timer(self.timeout, _cut, (connection, late))
            end.daemon = True
            end.start()
            try:
                connection.request("GET", at.path + path, headers={"Connection": "close"})
                answer = connection.getresponse()
                body = answer.read(_MAX_ANSWER)
            finally:
                end.cancel()
                connection.close()
            if late.is_set():
                raise TimeoutError
        except (HTTPException, OSError, ValueError) as problem:
            reason = f"not within {self.timeout:g} s" if late.is_set() else str(problem) or type(problem).__name__
            raise BenchFault(
                f"{self.name}: no answer: {printable(reason.encode('utf-8', 'replace'), 200)}",
                hint="does a browser on this machine reach it?",
            ) from None
        if answer.status != 200:  # a redirection, too: what is not the relay must not be taken for it
            raise BenchFault(f"{self.name}: HTTP {answer.status} to {path}", hint="check power.relay and power.channel")
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            start = re.sub(r"[^\x20-\x7e]", "?", body[:60].decode("latin-1"))
            raise BenchFault(f"{self.name}: expected JSON, came {start!r}") from None


def _cut(connection: HTTPConnection, late: threading.Event) -> None:
    late.set()
    with contextlib.suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)


def _tasmota_state(answer: Any, channel: int) -> bool | None:
    """A device with one relay may leave the number out."""
    if not isinstance(answer, dict):
        return None
    word = answer.get(f"POWER{channel}", answer.get("POWER") if channel == 1 else None)
    return {"ON": True, "OFF": False}.get(word) if isinstance(word, str) else None


def _truth(answer: Any, key: str) -> bool | None:
    value = answer.get(key) if isinstance(answer, dict) else None
    return value if isinstance(value, bool) else None


def _make(power: Power) -> HttpRelay:
    assert power.relay is not None
    first = 1 if power.relay == "tasmota" else 0
    return HttpRelay(power.relay, power.url or "", first if power.channel is None else power.channel)


METHOD = SwitchMethod("http", _make)
