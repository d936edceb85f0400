"""A port that another program has is waited for, and says nothing about the board."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.bench.attach import AttachedBoard, Options, attach
from harness.bench.board_port import BoardPort
from harness.bench.escalation import RecoveryStep, escalate
from harness.bench.health import HealthBook, State
from harness.bench.preparation import Preparation
from harness.errors import BenchFault, FirmwareFailure, PortBusy
from harness.flashing.flasher import ChipIdentity, FlashReport
from harness.inventory.load import load_bench
from harness.inventory.model import Board, Identity
from harness.link.deadline import Deadline, driven_by
from harness.link.ports import open_port
from harness.virtual.bench import RunningBoard

BENCH = """
boards:
  - {{id: b, chip: esp32, runtime: micropython, identity: {{{identity}}}, flash: {{method: none}}}}
"""


def entry(folder: Path, identity: str) -> Board:
    (folder / "boards.yaml").write_text(BENCH.format(identity=identity))
    return load_bench(folder / "boards.yaml").boards[0]


@pytest.fixture(params=["pty", "rfc2217"])
def held(
    request: pytest.FixtureRequest, vesp32: RunningBoard, tmp_path: Path
) -> Iterator[tuple[Board, threading.Timer]]:
    """A board whose port another program has until the timer lets it go."""
    assert vesp32.pty
    path = str(Path(vesp32.pty).resolve())
    address, identity = (path, f"port: {path}") if request.param == "pty" else (vesp32.url, f'url: "{vesp32.url}"')
    port = open_port(address)
    timer = threading.Timer(0.7, port.close)
    yield entry(tmp_path, identity), timer
    timer.cancel()
    port.close()


def test_it_is_waited_for(held: tuple[Board, threading.Timer], tmp_path: Path) -> None:
    board, timer = held
    told: list[str] = []
    timer.start()
    attached = attach(board, Options(tmp_path, wait=30), lambda step, *_: told.append(step))
    attached.close()
    assert any(step.startswith("waiting: ") for step in told)
    assert HealthBook(tmp_path).of("b").state is State.OK


def test_it_is_no_fault_of_the_board(held: tuple[Board, threading.Timer], tmp_path: Path) -> None:
    board, _ = held
    with pytest.raises(PortBusy, match=r"waited 0.3 s for it"):
        attach(board, Options(tmp_path, wait=0.3), lambda *_: None)
    assert not (tmp_path / "health.json").exists()


class Port:
    def close(self) -> None: ...


def test_waiting_ends_as_long_as_it_may_last_and_is_told_once() -> None:
    now = [0.0]

    def opener(_address: str) -> Port:
        raise PortBusy("/dev/ttyUSB0: the port is in use by mpremote (process 5)")

    def sleep(seconds: float) -> None:
        now[0] += seconds

    board = Board(id="b", chip="esp32", runtime="micropython", identity=Identity(port="/dev/ttyUSB0"))
    where = BoardPort(board, lambda: "/dev/ttyUSB0", opener, sleep=sleep)
    told: list[str] = []
    with driven_by(lambda: now[0]), pytest.raises(PortBusy, match=r"mpremote \(process 5\); waited 60 s"):
        where.when_free(0, Deadline(60), told.append)
    assert 60 <= now[0] < 61
    assert len(told) == 1
    with driven_by(lambda: now[0]), pytest.raises(PortBusy):  # a port that comes back, and is taken at once
        where.wait(1.0)


def test_a_recovery_that_ends_at_a_busy_port_is_no_fault_either() -> None:
    def refused() -> None:
        raise FirmwareFailure("silent")

    def busy() -> None:
        raise PortBusy("the port is in use")

    steps = [RecoveryStep("first", 1.0, refused), RecoveryStep("second", 1.0, busy)]
    with pytest.raises(PortBusy):
        escalate(steps, _unbounded, lambda _name: None)
    with pytest.raises(BenchFault, match="could not be recovered") as caught:
        escalate(steps[::-1], _unbounded, lambda _name: None)
    assert not isinstance(caught.value, PortBusy)


def _unbounded(_end: Deadline) -> threading.Lock:
    return threading.Lock()


def test_what_was_written_before_a_retry_is_in_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "boards.yaml").write_text(
        "boards: [{id: b, chip: esp32, runtime: micropython, virtual: {}, firmware: {build: virtual}}]"
    )
    (board,) = load_bench(tmp_path / "boards.yaml").boards
    identify, times = Preparation._identify, []

    def once_silent(self: Preparation, runtime: object) -> None:
        times.append(1)
        if len(times) == 1:
            raise BenchFault("does not answer")
        identify(self, runtime)  # type: ignore[arg-type]

    monkeypatch.setattr(Preparation, "_identify", once_silent)
    attached: AttachedBoard = attach(board, Options(tmp_path), lambda *_: None)
    attached.close()
    assert len(times) == 2
    report = attached.flashed
    assert report is not None
    assert report.written > 600_000
    assert report.unchanged == 0
    assert [step for step, _ in report.steps].count("connect") == 2


def test_two_reports_as_one() -> None:
    identity = ChipIdentity("esp32", "", "", None)
    before = FlashReport(identity, 100, 20, 1.0, [("write", 1.0)], ["slow"])
    again = FlashReport(identity, 30, 90, 0.5, [("compare", 0.5)], ["slow", "more"])
    again.after(before)
    assert again == FlashReport(identity, 130, 20, 1.5, [("write", 1.0), ("compare", 0.5)], ["slow", "more"])
