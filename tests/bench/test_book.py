"""Which states a board's health goes through, and that the file keeps it over processes."""

import json
import multiprocessing
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from harness.bench.health import QUARANTINE_AFTER, HealthBook, Quarantined, State
from harness.errors import BenchFault


def test_a_board_that_was_never_in_trouble_is_ok(tmp_path: Path) -> None:
    assert HealthBook(tmp_path).of("b").state is State.OK
    HealthBook(tmp_path).require("b")


def test_repeated_faults_lead_into_quarantine_with_reason_and_time(tmp_path: Path) -> None:
    book = HealthBook(tmp_path)
    for number in range(QUARANTINE_AFTER - 1):
        assert book.fault("b", f"trouble {number}").state is State.SUSPECT
        book.require("b")
    assert book.fault("b", "the last straw").state is State.QUARANTINED
    with pytest.raises(Quarantined, match="the last straw") as problem:
        HealthBook(tmp_path).require("b")
    assert "boards release b" in problem.value.hint
    HealthBook(tmp_path).require("another")


def test_something_that_went_well_starts_the_count_again(tmp_path: Path) -> None:
    book = HealthBook(tmp_path)
    for _ in range(3 * QUARANTINE_AFTER):
        assert book.fault("b", "now and then").state is State.SUSPECT
        book.went_well("b")
    assert book.of("b").state is State.OK


def test_a_recovery_alone_does_not_make_a_board_well(tmp_path: Path) -> None:
    book = HealthBook(tmp_path)
    book.fault("b", "x")
    book.recovering("b", "x")
    assert book.of("b").state is State.RECOVERING
    book.recovered("b", "Ctrl-C")
    assert (book.of("b").state, book.of("b").faults) == (State.SUSPECT, 1)


def test_only_a_release_leads_out_of_quarantine(tmp_path: Path) -> None:
    book = HealthBook(tmp_path)
    for _ in range(QUARANTINE_AFTER):
        book.fault("b", "first reason")
    book.recovering("b", "y")
    book.recovered("b", "y")
    assert book.fault("b", "later").reason == "first reason"
    book.release("b", "by hand")
    assert book.of("b").faults == 0 and book.of("b").state is State.OK


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"b": {"state": "odd"}}', b"[" * 5000, b"\xff" * 100, b'{"b": 3}']
)
def test_a_damaged_file_counts_as_empty(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "health.json").write_bytes(content)
    book = HealthBook(tmp_path)
    assert book.of("b").state is State.OK
    assert book.fault("b", "x").faults == 1
    json.loads((tmp_path / "health.json").read_text())


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchFault, match="health cannot be kept"):
        HealthBook(tmp_path / "file").fault("b", "x")


def _faults(folder: str, board: str) -> None:
    for _ in range(20):
        HealthBook(Path(folder)).fault(board, "x")


def test_processes_do_not_lose_each_others_entries(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    others = [spawn.Process(target=_faults, args=(str(tmp_path), board)) for board in ("a", "b", "a")]
    for other in others:
        other.start()
    for other in others:
        other.join(30)
        assert other.exitcode == 0
    book = HealthBook(tmp_path)
    assert (book.of("a").faults, book.of("b").faults) == (40, 20)
    assert not list(tmp_path.glob("*.part"))


class Life(RuleBasedStateMachine):
    """Against a model: the number of faults since something went well decides."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.faults = 0
        self.out = False

    @rule(reason=st.text(max_size=20))
    def fault(self, reason: str) -> None:
        HealthBook(Path(self.folder.name)).fault("b", reason)
        self.faults += 1
        self.out |= self.faults >= QUARANTINE_AFTER

    @rule()
    def recovery(self) -> None:
        book = HealthBook(Path(self.folder.name))
        book.recovering("b", "r")
        book.recovered("b", "r")

    @rule()
    def release(self) -> None:
        HealthBook(Path(self.folder.name)).release("b", "r")
        self.faults, self.out = 0, False

    @invariant()
    def agrees(self) -> None:
        health = HealthBook(Path(self.folder.name)).of("b")
        assert (health.state is State.QUARANTINED) is self.out
        assert health.faults == self.faults
        assert len(health.history) <= 20

    def teardown(self) -> None:
        self.folder.cleanup()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=20, stateful_step_count=12, deadline=None)
