"""Ports that went at one moment are a hub's doing; those of one board, or at other moments, are not."""

from __future__ import annotations

import pytest

from harness.bench.firmware_record import FirmwareRecord
from harness.campaigns.ports_together import ports_together
from harness.results.run_record import BoardRecord, Event, RunRecord


def record(**moments: list[float]) -> RunRecord:
    nothing = FirmwareRecord("", "", "")
    boards = [
        BoardRecord(name, "esp32", nothing, events=tuple(Event("reopened", "", at) for at in times))
        for name, times in moments.items()
    ]
    return RunRecord(1, 0.0, 1.0, "harness run", tuple(boards))


@pytest.mark.parametrize(
    ("moments", "told"),
    [
        ({"a": [10.0], "b": [10.4]}, ["the ports of a, b went within 0.4 s"]),
        (
            {"a": [10.0, 90.0], "b": [10.0, 50.0], "c": [91.5]},
            ["of a, b went within 0.0 s", "of a, c went within 1.5 s"],
        ),
        ({"a": [10.0, 11.0, 12.0]}, []),
        ({"a": [10.0], "b": [20.0]}, []),
        ({"a": []}, []),
    ],
)
def test_moments_are_told_by_the_boards_that_share_them(moments: dict[str, list[float]], told: list[str]) -> None:
    said = ports_together(record(**moments))
    assert len(said) == len(told)
    assert all(words in sentence for words, sentence in zip(told, said, strict=True))


def test_other_events_are_no_ports() -> None:
    nothing = FirmwareRecord("", "", "")
    events = (Event("reset", "", 1.0),)
    boards = tuple(BoardRecord(name, "esp32", nothing, events=events) for name in "ab")
    assert ports_together(RunRecord(1, 0.0, 1.0, "", boards)) == []
