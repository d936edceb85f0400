"""The calls of a board's client, kept in its transcript, so that they can be made once more.

Each method by which the harness speaks to a board is marked with :func:`recorded_call`. A client of another package
marks its own; what is not marked is not replayed.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from harness.errors import HarnessError
from harness.link.session import Session
from harness.runtimes.interface import Intervention, Restart, RunResult

_MARK = "_is_recorded_call"


class Caller(Protocol):
    """What a client must have. ``in_call``: a call from outside goes on; those that it makes of itself are no calls."""

    session: Session
    in_call: bool


_C = TypeVar("_C", bound=Caller)
_P = ParamSpec("_P")
_R = TypeVar("_R")


def recorded_call(method: Callable[Concatenate[_C, _P], _R]) -> Callable[Concatenate[_C, _P], _R]:
    """``method``, written to the transcript of the client's session when it is called from outside: what it was called
    with, and how it ended."""

    @functools.wraps(method)
    def call(self: _C, /, *arguments: _P.args, **named: _P.kwargs) -> _R:
        if self.in_call:
            return method(self, *arguments, **named)
        described_call = {
            "name": method.__name__,
            "arguments": [_plain(value) for value in arguments],
            "named": {key: _plain(value) for key, value in named.items()},
        }
        transcript = self.session.transcript
        transcript.add("call", json.dumps(described_call).encode())
        self.in_call = True
        try:
            result = method(self, *arguments, **named)
        except HarnessError as problem:
            transcript.add("ended", json.dumps(described(problem)).encode())
            raise
        finally:
            self.in_call = False
        transcript.add("ended", json.dumps(described(result)).encode())
        return result

    setattr(call, _MARK, True)
    return call


def is_recorded_call(client: object, name: str) -> bool:
    """Whether ``name`` is a call that a transcript of such a client may hold."""
    return getattr(getattr(type(client), name, None), _MARK, False) is True


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


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return {"bytes": value.decode("latin-1")}
    if isinstance(value, Intervention):
        return {"intervention": asdict(value)}
    return value


#: Names in transcripts of earlier versions.
_EARLIER = {"hand": "intervention"}


def arguments_of(call: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments that :func:`recorded_call` has written, by place and by name."""
    named = {_EARLIER.get(key, key): _unplain(value) for key, value in call["named"].items()}
    return [_unplain(value) for value in call["arguments"]], named


def _unplain(value: Any) -> Any:
    if isinstance(value, dict) and "bytes" in value:
        return str(value["bytes"]).encode("latin-1")
    if isinstance(value, dict):
        for key in ("intervention", *(old for old, new in _EARLIER.items() if new == "intervention")):
            if key in value:
                return Intervention(**value[key])
    return value
