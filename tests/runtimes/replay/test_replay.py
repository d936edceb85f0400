"""Conversations that went wrong, had once more without a board: the harness does what it did, or it is noticed."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.errors import UsageError
from harness.link.deadline import Deadline
from harness.runtimes.replay import Diverged, replay

HERE = Path(__file__).parent
TRANSCRIPTS = sorted(HERE.glob("*.jsonl"))
#: What the fault came to when it was recorded: the exception, and words of its message.
ENDS = {
    "reset_while_running": ("FirmwareFailure", "(reset)"),
    "lost_end_of_output": ("BenchFault", "did not send error text"),
    "program_damaged_on_its_way": (None, ""),
    "hung_until_reset": ("FirmwareFailure", "did not end"),
    "port_vanished": ("BenchFault", "port closed"),
    "lua_line_damaged": ("BenchFault", "a line came back damaged"),
    "lua_end_lost": ("BenchFault", "the program has ended"),
    "lua_reset_while_running": ("FirmwareFailure", "restarted by itself"),
}


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=[path.stem for path in TRANSCRIPTS])
def test_a_failure_replays_to_the_same_end(path: Path) -> None:
    calls = list(replay(path))
    assert calls and all(call.same for call in calls), [c for c in calls if not c.same]
    raised, words = ENDS[path.stem]
    problems = [call.now for call in calls if "raised" in call.now]
    assert not raised or any(p["raised"] == raised and words in p["message"] for p in problems), problems
    assert "stdout" in calls[-1].now  # the board is well at the end


def changed(path: Path, folder: Path, kind: str, at: int, data: str) -> Path:
    """A copy whose entry ``at`` of ``kind`` holds ``data``."""
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    [entry for entry in entries if entry["kind"] == kind][at]["data"] = data
    copy = folder / "changed.jsonl"
    copy.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return copy


def test_other_bytes_sent_are_noticed(tmp_path: Path) -> None:
    path = changed(TRANSCRIPTS[0], tmp_path, "sent", 0, "something else")
    with pytest.raises(Diverged, match="something else"):
        list(replay(path))
    result = CliRunner().invoke(main, ["replay", str(path)])
    assert result.exit_code == 1 and "the harness sends" in result.output


def test_another_end_is_noticed(tmp_path: Path) -> None:
    path = changed(TRANSCRIPTS[0], tmp_path, "ended", 0, '{"value": "other"}')
    assert [call.same for call in replay(path)].count(False) == 1
    assert CliRunner().invoke(main, ["replay", "-q", str(path)]).exit_code == 1


def test_a_good_replay_says_so() -> None:
    result = CliRunner().invoke(main, ["replay", "-q", str(TRANSCRIPTS[0])])
    assert result.exit_code == 0 and "ended as they did then" in result.output


def test_a_cut_transcript_ends_where_it_was_cut(tmp_path: Path) -> None:
    lines = TRANSCRIPTS[0].read_text().splitlines()
    kinds = [json.loads(line)["kind"] for line in lines]
    first_end = kinds.index("ended")
    cut = tmp_path / "cut.jsonl"
    cut.write_text("\n".join(lines[: first_end + 4]))
    assert len(list(replay(cut))) == 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        "not json",
        "{}",
        '{"at": 0, "kind": "session", "data": "{\\"runtime\\": \\"basic\\", \\"seed\\": 1}"}',
        "[" * 9000,
    ],
)
def test_what_is_no_transcript_is_the_users_mistake(content: str, tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(content)
    with pytest.raises(UsageError):
        list(replay(file))
    assert CliRunner().invoke(main, ["replay", str(file)]).exit_code == 2


def test_the_clock_is_the_hosts_again_afterwards() -> None:
    list(replay(TRANSCRIPTS[0]))
    assert 0 < Deadline(5.0).left <= 5.0
    assert Deadline(0.0).passed


def test_every_kind_of_failure_here_is_described() -> None:
    assert {path.stem for path in TRANSCRIPTS} == set(ENDS)
