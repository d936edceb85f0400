"""What a board prints arrives as lines with times, whatever it is and however it is cut."""

import re
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from harness.campaigns.console_lines import LONGEST, Lines
from harness.cli import main


@given(st.lists(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=30)), st.data())
def test_lines_do_not_depend_on_how_they_are_cut(texts: list[str], data: st.DataObject) -> None:
    stream = "".join(text + data.draw(st.sampled_from(["\r\n", "\n"])) for text in texts).encode()
    whole = [line.text for line in Lines().feed(stream, 0.0)]
    cut, lines, at = [], Lines(), 0
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream) - at))
        cut += lines.feed(stream[at : at + size], float(at))
        at += size
    assert whole == [line.text for line in [*cut, *lines.flush()]] == texts


@given(st.binary(max_size=3 * LONGEST))
def test_whatever_comes_is_shown_without_escapes_and_bounded(data: bytes) -> None:
    lines = Lines()
    for line in [*lines.feed(data, 0.0), *lines.flush()]:
        assert line.text.isprintable()
        assert len(line.text) <= LONGEST


def test_a_line_has_the_time_of_its_first_byte_and_its_kind() -> None:
    lines = Lines()
    assert lines.feed(b"hel", 1.0) == []
    first, second = lines.feed(b"lo\r\nrst:0x1 (POWERON_RESET),boot:0x13\r\n", 2.0)
    assert (first.at, first.text, first.kind) == (1.0, "hello", "text")
    assert (second.at, second.kind) == (2.0, "reset")
    (panic,) = lines.feed(b"Guru Meditation Error: Core  0 panic'ed (StoreProhibited)\n", 3.0)
    assert panic.kind == "panic"


def test_a_virtual_board_is_watched_over_a_reset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "boards.yaml").write_text(
        "boards:\n  - id: b\n    chip: esp32\n    runtime: micropython\n    virtual: {}\n"
    )
    monkeypatch.chdir(tmp_path)
    from harness.virtual.bench import running

    def cut_power() -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            board = running(tmp_path / ".harness/virtual").get("b")
            log = tmp_path / "log.txt"
            if board is not None and log.exists() and log.stat().st_size:  # the watch has begun
                board.power(on=False)
                board.power(on=True)
                return
            time.sleep(0.05)  # only to poll for its start

    helper = threading.Thread(target=cut_power)
    helper.start()
    done = CliRunner().invoke(main, ["watch", "b", "--seconds", "6", "--log", "log.txt"])
    helper.join()
    assert done.exit_code == 0, done.output
    assert re.search(r"^ +\d+\.\d{3}  rst:0x1 \(POWERON_RESET\)", done.output, re.MULTILINE)
    assert "POWERON_RESET" in (tmp_path / "log.txt").read_text()


def test_a_board_that_is_not_there_is_a_mistake_of_usage(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["watch", "nobody"]).exit_code == 2
