"""Events between a board's process and the one that shows it."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.judging.run_events import Events, parse

_VALUES = st.one_of(st.integers(), st.booleans(), st.text(st.characters(codec="utf-8"), max_size=50), st.none())


@given(st.dictionaries(st.sampled_from(["text", "done", "total", "reason"]), _VALUES))
def test_round_trip(fields: dict[str, object]) -> None:
    read, write = os.pipe()
    try:
        Events("vesp32", write).send("step", **fields)
        line = os.read(read, 65536)
    finally:
        os.close(read)
        os.close(write)
    assert line.count(b"\n") == 1
    assert parse(line) == {"event": "step", "board": "vesp32", **fields}


def test_a_long_reason_is_cut_and_not_lost() -> None:
    read, write = os.pipe()
    try:
        Events("b", write).send("result", reason="\U0001f600" * 50_000, outcome="fail")
        event = parse(os.read(read, 65536))
    finally:
        os.close(read)
        os.close(write)
    assert event is not None
    assert (event["outcome"], len(event["reason"])) == ("fail", 2000)


@given(st.binary(max_size=100))
def test_garbage_is_no_event(data: bytes) -> None:
    event = parse(data)
    assert event is None or isinstance(event["event"], str)


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"3", b"{}", b'{"event": "x"}', b'{"event": 1, "board": "b"}', b"[" * 60_000, b"\xff"]
)
def test_what_is_no_event(line: bytes) -> None:
    assert parse(line) is None


def test_a_line_beyond_bounds_is_not_even_parsed() -> None:
    assert parse(b'{"event": "x", "board": "b", "text": "' + b"x" * 70_000 + b'"}') is None


def test_nobody_listening_is_no_problem() -> None:
    read, write = os.pipe()
    os.close(read)
    events = Events("b", write)
    events.send("step", text="one")
    os.close(write)
    events.send("step", text="two")
    Events("b", None).send("step")
