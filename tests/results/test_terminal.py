"""What people see: live while a run goes, and at its end."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness.bench.firmware_record import FirmwareRecord
from harness.inventory.model import Board
from harness.judging.outcome import Outcome
from harness.results.report.terminal import LiveView, closing_line, print_run
from harness.results.run_record import BoardRecord, Event, RunRecord, ScenarioResult
from harness.shown import plain
from tests.results.sample_run import HEAP, HOSTILE, LEAK, healthy, sample


def printed(run: RunRecord, *, width: int = 100, all_figures: bool = False) -> str:
    out = io.StringIO()
    print_run(run, Console(file=out, width=width, highlight=False), all_figures=all_figures)
    return out.getvalue()


def test_figures_reasons_and_closing_line() -> None:
    text = printed(sample())
    assert re.search(r"vesp32 +esp32 +micropython v1\.27\.0", text)
    assert "heap: equal to the byte" in text
    assert re.search(r"marginal +flash_execution: from mpy +0\.5 s", text)
    assert re.search(r"x\.allocated +48 B +48 B +exactly 48 B", text)
    assert re.search(r"marginal x\.time +160\.5 µs +120 µs +within 25 % of 120 µs", text)
    assert re.search(r"fail reload\.leak +64 B +0 B +less than one block", text)
    assert "fail vesp32 reload: leaks\n  reload.leak is 64 B" in text
    last = text.strip().splitlines()[-1]
    assert last.startswith("2 boards: 1 passed, 1 marginal, 2 failed, 1 error, 1 skipped, 1 board with a bench fault")
    assert last.endswith("in 31.2 s")


def test_closing_line_of_a_healthy_and_of_an_interrupted_run() -> None:
    assert closing_line(healthy()).plain == "\n1 board: 2 passed, 0 failed, 0 errors in 1.0 s"
    assert closing_line(replace(healthy(), finished=0)).plain.endswith("interrupted before the end")


def test_hostile_text_stays_text() -> None:
    text = printed(sample())
    assert "[bold]x[/]" in text
    assert not {"\x1b", "\x07", "\x00", "\x9b", "\u202e"} & set(text)


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert max(map(len, printed(sample(), width=width).splitlines())) <= width


def test_many_good_figures_are_folded_and_a_bad_one_never_is() -> None:
    def run(*extra: Any) -> RunRecord:
        many = tuple(replace(HEAP, name=f"m{i}") for i in range(12))
        outcome = Outcome.FAIL if extra else Outcome.PASS
        result = ScenarioResult("s", "n", outcome, "", (*many, *extra))
        return replace(healthy(), boards=(replace(healthy().boards[0], scenarios=(result,)),))

    assert "12 figures" in printed(run())
    assert "m1 " in printed(run()) and "m2" not in printed(run())
    assert "m11" not in printed(run())
    assert "m11" in printed(run(), all_figures=True)
    assert "reload.leak" in printed(run(LEAK))


@given(st.text(st.characters()), st.integers(1, 100))
def test_plain_is_bounded_and_printable(text: str, limit: int) -> None:
    found = plain(text, limit)
    assert len(found) <= limit
    assert all(char.isprintable() or char == "\n" for char in found)


# -- live ----------------------------------------------------------------------------------------


def board(name: str, chip: str) -> Board:
    return Board.model_validate({"id": name, "chip": chip, "runtime": "micropython", "virtual": {}})


BOARDS = [board("vesp32", "esp32"), board("vesp8266", "esp8266")]


EVENTS: list[dict[str, Any]] = [
    {"event": "planned", "board": "vesp32", "count": 2},
    {"event": "step", "board": "vesp32", "text": "write", "done": 10, "total": 100},
    {"event": "step", "board": "vesp32", "text": "write", "done": 60, "total": 100},
    {"event": "ready", "board": "vesp32", "firmware": "micropython", "written": 4096, "seconds": 0.5},
    {"event": "scenario", "board": "vesp32", "suite": "reload", "name": "files_are_kept"},
    {"event": "result", "board": "vesp32", "suite": "reload", "name": "files_are_kept", "outcome": "pass"},
    {"event": "result", "board": "vesp8266", "suite": "reload", "name": HOSTILE, "outcome": "fail"},
    {"event": "end", "board": "vesp8266", "problem": "the port\nvanished"},
]


def test_without_a_terminal_each_milestone_is_one_plain_line() -> None:
    out = io.StringIO()
    with LiveView(BOARDS, Console(file=out, width=120, highlight=False)) as view:
        for event in EVENTS:
            view(event)
    text = out.getvalue()
    lines = [re.sub(r"^ *[\d.]+ s +", "", line) for line in text.splitlines()]
    assert [re.sub(" +", " ", line) for line in lines[:3]] == [
        "vesp32 write",
        "vesp32 ready: micropython, 4 kB written in 0.5 s",
        "vesp32 pass reload: files are kept",
    ]
    assert lines[3].startswith("vesp8266     fail     reload: ")
    assert len(lines) == 4
    assert "\x1b" not in text


def live_lines(view: LiveView, width: int = 120) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(view._table())
    return out.getvalue().splitlines()


def test_the_live_table_shows_who_does_what() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, highlight=False)
    with LiveView(BOARDS, console) as view:
        seen = []
        for event in EVENTS:
            view(event)
            seen.append(live_lines(view))
            assert len(live_lines(view, 50)) == 3  # a narrow terminal wraps nothing
    assert all(len(lines) == 3 for lines in seen)  # a line a board and the clock, whatever came
    assert re.search(r"vesp32 .*━.* write", seen[2][0])
    assert "reload: files are kept" in seen[4][0]
    assert "1 pass" in seen[5][0]
    assert "waiting" in seen[5][1]
    assert "the port vanished" in seen[7][1]
    assert "1 fail" in seen[7][1]


_ANY = st.one_of(st.none(), st.integers(), st.floats(), st.text(st.characters(), max_size=20), st.lists(st.integers()))


@given(
    st.sampled_from(["planned", "step", "scenario", "ready", "result", "end", "?"]),
    st.dictionaries(
        st.sampled_from(
            ["text", "done", "total", "count", "suite", "name", "outcome", "written", "seconds", "problem"]
        ),
        _ANY,
    ),
)
def test_an_event_that_makes_no_sense_ends_nothing(kind: str, fields: dict[str, Any]) -> None:
    for terminal in (False, True):
        console = Console(file=io.StringIO(), width=100, force_terminal=terminal, highlight=False)
        view = LiveView([board("b", "esp32")], console)
        view({**fields, "event": kind, "board": "b"})
        assert len(live_lines(view)) == 2


def test_a_large_run_is_told_suite_by_suite_and_what_went_wrong_in_full() -> None:
    good = tuple(ScenarioResult("reload", f"good_{n}", Outcome.PASS, seconds=0.1) for n in range(120))
    bad = ScenarioResult("reload", "bad_one", Outcome.FAIL, "3 blocks lost")
    skipped = ScenarioResult("interrupt", "hard", Outcome.SKIPPED, "b1 has no hard_irq")
    board = BoardRecord("b1", "esp32", FirmwareRecord("fw", "v1", ""), (*good, bad, skipped))
    text = printed(RunRecord(1, 0.0, 60.0, "harness run", (board,)))
    assert "pass     reload           120 scenarios     0 figures    12.0 s" in text
    assert "fail     reload: bad one" in text and "3 blocks lost" in text
    assert "skipped  interrupt" in text
    assert "good 7" not in text


def test_a_board_to_which_something_happened_has_one_line_of_events() -> None:
    kinds = ["retry", "reset", "retry", HOSTILE, *(f"kind{n}" for n in range(20))]
    board = replace(healthy().boards[0], events=tuple(Event(kind, HOSTILE, 100.0) for kind in kinds))
    lines = [line for line in printed(replace(healthy(), boards=(board,)), width=400).splitlines() if "events" in line]
    assert len(lines) == 1
    assert lines[0].startswith("  events: 2 × retry, 1 × reset, ") and lines[0].endswith("…")
    assert "\x1b" not in lines[0]
    assert "events" not in printed(healthy())


def test_what_happened_in_the_lab_is_told_in_words() -> None:
    events = (Event("retry", "twice", 100.0), Event("lab", f"place 'esp-1' is not given back yet {HOSTILE}", 101.0))
    out = printed(replace(healthy(), boards=(replace(healthy().boards[0], events=events),)), width=400)
    assert "  lab: place 'esp-1' is not given back yet" in out
    assert "twice" not in out
    assert "\x1b" not in out


def test_what_failed_names_its_transcript() -> None:
    place = "transcripts/run-7-ab/b.jsonl#0-99"
    board = sample().boards[0]
    told = [
        printed(replace(sample(), boards=(replace(board, scenarios=(replace(s, transcript=place),)),)))
        for s in board.scenarios
    ]
    assert [place in text for text in told] == [False, False, True, True, False]
