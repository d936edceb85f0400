"""What a board sends cannot hang the harness, fill its memory, or become a figure."""

import contextlib
import json
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import BenchFault, FirmwareFailure, HarnessError
from harness.judging.run_events import parse
from harness.link import transcript as transcript_module
from harness.link.session import READ_LIMIT, Reason, Session
from harness.link.transcript import Transcript, load
from harness.runtimes.ask_names import read_facts
from harness.runtimes.interface import RunResult
from harness.runtimes.micropython.micropython_board import MicroPythonBoard
from harness.runtimes.records import decode
from tests.hostile.hostile_lines import TEXTS, HostilePort, endless

MB = 1024 * 1024


def answered(text: bytes) -> Iterator[bytes]:
    """A raw REPL that takes any program and prints ``text``, in bytes one by one where that is short."""
    yield b"R\x01\x00\x40"
    yield b"\x04"
    yield from (text[at : at + 1] for at in range(len(text))) if len(text) < 2000 else iter([text])
    yield b"\x04\x04>"


def in_hand(source: Iterator[bytes]) -> MicroPythonBoard:
    board = MicroPythonBoard(Session(HostilePort(source)))
    board._in_hand = True
    return board


@pytest.mark.parametrize("name", [name for name in TEXTS if name != "nuls and controls"])
def test_output_comes_as_the_bytes_that_it_is_however_they_were_split(name: str) -> None:
    assert in_hand(answered(TEXTS[name])).run("pass").stdout == TEXTS[name]


def test_endless_output_ends_as_a_flood_in_bounded_memory() -> None:
    port = HostilePort(endless(b"x" * 65536))
    tracemalloc.start()
    try:
        read = Session(port).read_until(b"never", idle=1.0, deadline=60.0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read.reason is Reason.FLOOD
    assert port.given < READ_LIMIT + MB
    assert peak < 6 * READ_LIMIT


def test_a_program_that_floods_is_the_firmwares_failure() -> None:
    def flood() -> Iterator[bytes]:
        yield b"R\x01\x00\x40"
        yield b"\x04"
        yield from endless(b"y" * 65536)

    with pytest.raises(FirmwareFailure, match="floods"):
        in_hand(flood()).run("while True: print('y')")


def test_a_board_that_floods_at_its_prompt_is_given_up_in_time() -> None:
    board = MicroPythonBoard(Session(HostilePort(endless(b"\x1b[31m>>> " * 4096))), boot_timeout=0.5)
    with pytest.raises(HarnessError):
        board.enter()


def test_endless_rom_banners_are_a_boot_loop() -> None:
    read = Session(HostilePort(endless(b"rst:0x1 (POWERON_RESET)\r\n" * 2000))).read_until(b">", idle=1, deadline=20)
    assert read.panic is not None and read.panic.kind == "boot loop"
    assert len(read.panic.text) <= 480


def test_a_transcript_file_stays_below_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript_module, "FILE_LIMIT", 100_000)
    path = tmp_path / "t.jsonl"
    written = Transcript(path)
    for _ in range(100):
        written.add("received", b"\x1b\xff\0" * 3000)
    written.close()
    assert path.stat().st_size < 101_000
    assert b"limit" in load(path)[-1].data
    assert sum(len(e.data) for e in written.entries) <= transcript_module.KEEP


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_transcript_is_plain_ascii_and_exact(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    written = Transcript(path)
    written.add("received", text)
    written.close()
    assert all(32 <= byte < 127 or byte == 10 for byte in path.read_bytes())
    assert load(path)[0].data == text


def record(body: bytes, crc: int | None = None) -> bytes:
    return b"\x02%s|%08x\x03\r\n" % (body, zlib.crc32(body) if crc is None else crc)


@pytest.mark.parametrize(
    "stdout",
    [
        record(b"0|count|n|-|1", crc=0) + record(b"1|end|-|-|1"),
        record(b"0|count|n|-|" + b"9" * 5000) + record(b"1|end|-|-|1"),
        record(b"0|count|n|-|1e999") + record(b"1|end|-|-|1"),
        record(b"0|count|../../n|-|1") + record(b"1|end|-|-|1"),
        record(b"0|state|n|-|" + b"x" * 70_000) + record(b"1|end|-|-|1"),
        record(b"0|count|n|-|" + b",".join([b"1"] * 5000)) + record(b"1|end|-|-|1"),
        record(b"0|count|\xff\xfe|-|1") + record(b"1|end|-|-|1"),
        b"\x02" * 10_000,
        b"\x03" * 10_000,
    ],
    ids=["checksum", "huge number", "float", "path", "long state", "many values", "bytes", "starts", "ends"],
)
def test_records_that_are_wrong_never_become_figures(stdout: bytes) -> None:
    with pytest.raises(BenchFault) as problem:
        decode(stdout)
    assert (len(str(problem.value)) < 1000 and str(problem.value).isprintable()) or "\n" in str(problem.value)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_make_the_decoders_fail_otherwise(data: bytes) -> None:
    for action in (
        lambda: decode(data),
        lambda: read_facts(lambda _source: RunResult(data, data, 0.0)),
        lambda: parse(data),
    ):
        with contextlib.suppress(BenchFault):
            action()


def test_a_description_with_absurd_figures_is_refused_or_bounded() -> None:
    body = b"micropython|v|m|4|8|" + b"9" * 500 + b"|0|esp32||31"
    stdout = b"\x02%s|%08x\x03" % (body, zlib.crc32(body))
    facts = read_facts(lambda _source: RunResult(stdout, b"", 0.0))
    assert facts.heap_total > 0  # the reference VM's heap is capped where it is made


def test_an_event_as_deep_as_it_can_be_is_no_event() -> None:
    deep = b'{"event": ' + b"[" * 30_000 + b"]" * 30_000 + b"}"
    assert parse(deep) is None
    assert parse(json.dumps({"event": "x", "board": "y"}).encode() + b" " * 70_000) is None


def test_file_names_of_a_board_are_only_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = [b"../../evil", b"/etc/passwd", b"a\0b", b"\xff\xfe", b"\x1b[2J"]
    listing = b"".join(b"%" + name.hex().encode() + b"\r\n" for name in names)
    assert len(in_hand(answered(listing)).listdir("/")) == len(names)
    assert list(tmp_path.iterdir()) == []
