"""A scenario that the bench breaks off: what is told is what broke it, and the next one finds what it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness.errors import BenchFault
from harness.judging.board_bench import BoardBench
from harness.judging.scenario import Scenario
from harness.reference.circuitpython_reference import CircuitPythonReference
from harness.reference.vm import ReferenceVm
from harness.runtimes.abilities import Abilities
from harness.runtimes.interface import RunResult
from harness.runtimes.micropython.file_programs import SWEEP
from tests.suites.stand_in import StandIn, entry


class _Cut(ReferenceVm):
    """In the board's place; while ``cut`` nothing gets through to it."""

    cut = False

    def run(self, source: str, *, timeout: float = 30.0, interrupt_at: bytes = b"") -> RunResult:
        self._through()
        return super().run(source, timeout=timeout, interrupt_at=interrupt_at)

    def put(self, path: str, data: bytes) -> None:
        self._through()
        super().put(path, data)

    def remove(self, path: str) -> None:
        self._through()
        super().remove(path)

    def sweep(self, base: str, own_folder: str) -> None:
        assert not self.run(SWEEP % (base.rstrip("/"), own_folder)).stderr

    def _through(self) -> None:
        if self.cut:
            raise BenchFault("the line was cut")


@pytest.fixture
def sides() -> Iterator[tuple[_Cut, ReferenceVm, BoardBench]]:
    board = _Cut(chip="esp32")
    with board, ReferenceVm(chip="esp32") as reference:
        files = Abilities(paste_window=128)
        stand_in = StandIn(entry("esp32", "micropython"), board, abilities=files)
        yield board, reference, BoardBench(stand_in, reference, lambda _text: None)


def test_a_file_that_does_not_arrive_is_the_benchs_fault_and_no_broken_suite(
    sides: tuple[_Cut, ReferenceVm, BoardBench],
) -> None:
    board, _, bench = sides
    scenario = Scenario(bench)
    assert scenario.folder == "/hx_files"
    board.cut = True
    with pytest.raises(BenchFault, match="the line was cut"), scenario.files({"a.py": b"x = 1"}):
        pass


def test_a_folder_that_could_not_be_made_is_made_for_the_next(sides: tuple[_Cut, ReferenceVm, BoardBench]) -> None:
    board, reference, bench = sides
    board.cut = True
    with pytest.raises(BenchFault, match="the line was cut"):
        bench.folder()
    board.cut = False
    with Scenario(bench).files({"a.py": b"x = 1"}) as folder:
        assert [side.get(f"{folder}/a.py") for side in (board, reference)] == [b"x = 1"] * 2


def test_what_a_broken_scenario_left_is_not_what_the_next_one_imports(
    sides: tuple[_Cut, ReferenceVm, BoardBench],
) -> None:
    """A source is found before an .mpy of the same name, whoever put it there."""
    board, _, bench = sides
    with pytest.raises(BenchFault, match="the line was cut"), Scenario(bench).files({"hx_m.py": b"new = False"}):
        board.cut = True
        raise BenchFault("the line was cut in the middle")
    board.cut = False
    with Scenario(bench).files({"hx_m.mpy": b"new"}) as folder:
        assert board.run(f"import os\nprint(os.listdir({folder!r}))").stdout == b"['hx_m.mpy']\r\n"


@pytest.mark.parametrize(
    "make",
    [
        lambda: ReferenceVm(chip="esp32"),
        lambda: CircuitPythonReference(region_size=65536, sleep_memory=64, chip="esp32"),
    ],
    ids=["vm", "supervised"],
)
def test_what_the_reference_cannot_do_with_a_file_is_no_bare_error_of_the_host(
    make: Callable[[], ReferenceVm | CircuitPythonReference],
) -> None:
    with make() as vm:
        for path in ("/none/a.py", "/a.py"):
            with pytest.raises(BenchFault, match=path):
                vm.remove(path)
        with pytest.raises(BenchFault, match="/none/a.py"):
            vm.put("/none/a.py", b"")
