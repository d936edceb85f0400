"""A scenario's transcript is found by its reference, as long as it is kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.link.transcript import Entry, Transcript
from harness.link.transcript_files import FOLDER, Place, excerpt, forget_old, place_since, run_folder, size_of

PATH = f"{FOLDER}/{run_folder(7, 'ab' * 16)}/b.jsonl"


def write(state: Path, *entries: tuple[str, bytes]) -> None:
    transcript = Transcript(state / PATH, after=True)
    for kind, data in entries:
        transcript.add(kind, data)
    transcript.close()


def seen(state: Path, reference: str, count: int = 40) -> list[tuple[str, bytes]]:
    return [(entry.kind, entry.data) for entry in excerpt(state, reference, count)]


def test_an_excerpt_is_of_its_own_scenario_alone(tmp_path: Path) -> None:
    write(tmp_path, ("sent", b"before"))
    begin = size_of(tmp_path / PATH)
    write(tmp_path, ("sent", b"1+1"), ("received", b"2\r\n"))
    reference = place_since(tmp_path, PATH, begin)
    write(tmp_path, ("sent", b"after"))
    assert seen(tmp_path, reference) == [("sent", b"1+1"), ("received", b"2\r\n")]


def test_what_said_nothing_has_no_transcript(tmp_path: Path) -> None:
    assert place_since(tmp_path, PATH, 0) == ""
    write(tmp_path, ("sent", b"x"))
    assert place_since(tmp_path, PATH, size_of(tmp_path / PATH)) == ""


def test_an_excerpt_joins_the_pieces_of_an_answer_and_keeps_the_last_entries(tmp_path: Path) -> None:
    write(tmp_path, ("sent", b"a"), ("received", b"b"), ("received", b"c"), ("silent", b""), ("note", b"n"))
    reference = place_since(tmp_path, PATH, 0)
    assert seen(tmp_path, reference) == [("sent", b"a"), ("received", b"bc"), ("note", b"n")]
    assert seen(tmp_path, reference, 2) == [("received", b"bc"), ("note", b"n")]


def test_the_end_of_a_long_conversation_is_read_without_its_beginning(tmp_path: Path) -> None:
    kinds = ("sent", "received")
    write(tmp_path, *((kinds[i % 2], f"{i:5}".encode() + b"x" * 4000) for i in range(300)))
    found = excerpt(tmp_path, place_since(tmp_path, PATH, 0))
    assert [int(entry.data[:5]) for entry in found] == list(range(260, 300))


def test_after_a_kill_in_the_middle_of_a_line_the_next_entry_is_whole(tmp_path: Path) -> None:
    write(tmp_path, ("sent", b"1"))
    with (tmp_path / PATH).open("a") as stream:
        stream.write('{"at": 1.0, "kind": "rec')
    write(tmp_path, ("sent", b"2"))
    assert seen(tmp_path, place_since(tmp_path, PATH, 0)) == [("sent", b"12")]


@pytest.mark.parametrize(
    "reference",
    [
        "",
        PATH,
        f"../{PATH}#0-5",
        f"{FOLDER}/../b.jsonl#0-5",
        f"{FOLDER}/run-7/../../b.jsonl#0-5",
        "/etc/passwd#0-5",
        f"{PATH}#5-",
        f"{PATH}#-1-5",
        f"{PATH}#0-{10**20}",
    ],
)
def test_a_reference_leads_nowhere_but_to_transcripts(reference: str, tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text('{"at": 0, "kind": "sent", "data": "secret"}\n')
    assert Place.parse(reference) is None
    assert excerpt(tmp_path, reference) == ()


@given(st.binary(max_size=200))
def test_a_damaged_transcript_gives_what_is_whole_in_it(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    state = tmp_path_factory.getbasetemp()
    file = state / PATH
    file.parent.mkdir(parents=True, exist_ok=True)
    good = Entry(1.0, "note", b"whole").to_json().encode()
    file.write_bytes(noise + b"\n" + good + b"\n")
    assert ("note", b"whole") in seen(state, f"{PATH}#0-{file.stat().st_size}")


def test_only_the_newest_runs_keep_their_transcripts(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    for number in range(5):
        folder = tmp_path / FOLDER / f"run-{9 - number}-00"
        folder.mkdir()
        (folder / "b.jsonl").touch()
        os.utime(folder, (1000.0 + number, 1000.0 + number))
    (tmp_path / FOLDER / "b.jsonl").touch()
    forget_old(tmp_path, keep=2)
    assert sorted(p.name for p in (tmp_path / FOLDER).iterdir()) == ["b.jsonl", "run-5-00", "run-6-00"]
