"""The calls of a board's runtime, kept in its transcript, so that they can be made once more."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from typing import Any

from harness.errors import HarnessError
from harness.link.transcript import Transcript
from harness.runtimes.base import BoardRuntime, Facts, Hand, Restart, RunResult

#: The methods that make up a conversation. Others that a runtime has are not replayed.
CALLS = (
    "enter", "run", "put", "get", "remove", "soft_reset", "hard_reset", "run_to_reset", "restart_by", "listdir",
    "read_facts", "reload_lfs",
)  # fmt: skip


class RecordedRuntime:
    """``runtime``, with each call from outside written to ``transcript``; calls that it makes of itself are not."""

    def __init__(self, runtime: BoardRuntime, transcript: Transcript) -> None:
        self._runtime = runtime
        self._transcript = transcript
        self._facts: Facts | None = None

    @property
    def facts(self) -> Facts:
        """As the runtime's own; asking for them is a call like the others."""
        if self._facts is None:
            self._facts = self.read_facts()
        return self._facts

    def read_facts(self) -> Facts:
        found: Facts = self._call("read_facts", self._runtime.read_facts)
        return found

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._runtime, name)
        return functools.partial(self._call, name, found) if name in CALLS else found

    def _call(self, name: str, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        call = {
            "name": name,
            "arguments": [_plain(a) for a in arguments],
            "named": {k: _plain(v) for k, v in named.items()},
        }
        self._transcript.add("call", json.dumps(call).encode())
        try:
            result = method(*arguments, **named)
        except HarnessError as problem:
            self._transcript.add("ended", json.dumps(described(problem)).encode())
            raise
        self._transcript.add("ended", json.dumps(described(result)).encode())
        return result


def described(result: Any) -> dict[str, str]:
    """How a call ended, for comparing: without what a clock has a say in."""
    if isinstance(result, HarnessError):
        return {"raised": type(result).__name__, "message": result.message}
    if isinstance(result, RunResult):
        return {"stdout": _digest(result.stdout), "stderr": _digest(result.stderr)}
    if isinstance(result, Restart):
        return {"stdout": _digest(result.stdout), "boot": _digest(result.boot)}
    if isinstance(result, bytes):
        return {"bytes": _digest(result)}
    return {"value": repr(result)[:1000]}


def _digest(data: bytes) -> str:
    return f"{len(data)} {hashlib.sha256(data).hexdigest()[:16]}"


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"bytes": value.decode("latin-1")}
    if is_dataclass(value) and not isinstance(value, type):
        return {"hand": asdict(value)}
    return value


def unplain(value: Any) -> Any:
    """The argument that was written by :class:`RecordedRuntime`."""
    if isinstance(value, dict) and "bytes" in value:
        return str(value["bytes"]).encode("latin-1")
    if isinstance(value, dict) and "hand" in value:
        return Hand(**value["hand"])
    return value
