"""One virtual board through its share of the injections, by the same code that a run uses."""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.bench.attach import AttachedBoard, Options, attach
from harness.errors import BenchFault, FirmwareFailure, HarnessError
from harness.formats.romfs import build_romfs
from harness.inventory.model import Board
from harness.judging.board_bench import BoardBench
from harness.judging.figures import Figure
from harness.judging.limits import exactly
from harness.judging.references import reference_for
from harness.judging.scenario import Scenario
from harness.judging.second_look import judged_again
from harness.kinds import STATE
from harness.proving.soak_plan import Injection
from harness.runtimes.program import Program
from harness.runtimes.traits import Language, traits_of

_LOOK = "import binascii\nwith open('/rom/soak.bin','rb') as f: print('%08x' % (binascii.crc32(f.read()) & 0xffffffff))"


@dataclass(frozen=True)
class Episode:
    """How one injection ended. ``outcome``: ``pass`` (nothing was lost, and every figure is right), ``error``, and what
    must never be: ``fail`` (the healthy firmware was blamed), ``wrong`` (a pass with a wrong figure), ``lost`` (the
    board did not come back when all was mended). ``struck``: how often the fault happened. ``helped``: what brought
    the board back. ``seconds``: what it took, recovery included."""

    board: str
    kind: str
    action: str
    struck: int
    outcome: str
    helped: str
    seconds: float
    reason: str


def soak_board(board: Board, state: Path, injections: list[Injection], told: Callable[[Episode], None]) -> None:
    """Go through ``injections``; ``told`` hears of each as it ends. Raises HarnessError when the board is not well
    before the first."""
    todo = list(injections)
    while todo:
        attached = attach(board, Options(state, check=True, purpose="harness soak"), lambda *_: None)
        try:
            with reference_for(attached, lambda _text: None) as reference:
                soak = _Soak(attached, BoardBench(attached, reference, lambda _text: None))
                while todo:
                    episode = soak.episode(todo.pop(0))
                    told(episode)
                    if episode.helped == "a new start":
                        break
        finally:
            attached.close()


_FILE, _FLASH, _ROMFS = (Figure(name, STATE) for name in ("soak.file", "soak.flash", "soak.romfs"))


class _Soak:
    def __init__(self, attached: AttachedBoard, bench: BoardBench) -> None:
        self._bench = bench
        self._attached = attached
        programs: dict[Language, Callable[[], Program]] = {
            "python": lambda: Program.load("allocations"),
            "lua": lambda: Program.load_lua("soak_figures"),
        }
        self._program = programs[traits_of(attached.board.runtime).language]()
        self._right = self._figures(self._measured())

    def episode(self, injection: Injection) -> Episode:
        injector = self._attached.device.injector
        assert injector is not None
        started = time.monotonic()
        before = injector.faults.get(injection.kind, 0)
        for fault in injection.faults:
            injector.fault(**vars(fault))
        outcome, reason = self._outcome(injection)
        helped = ""
        if outcome != "pass":
            helped = self._recovered("after a fault of the bench")
        struck = injector.faults.get(injection.kind, 0) - before
        injector.mend()
        # All is well again, as if somebody had seen to the board: it must work as it did before.
        # What a start brought about (a full filesystem, a lie about the version) only the next start takes away.
        mended = self._recovered("mended", gentle=not injection.reset)
        if mended == "-":
            helped = "a new start"
        elif outcome != "pass" and helped == "-":
            helped = f"mending, then {mended}"
        if helped != "a new start":
            try:
                if self._figures(self._measured()) != self._right:
                    outcome, reason = "wrong", "after all was mended, figures differ"
            except HarnessError as problem:
                outcome, reason = "lost", problem.message
                helped = "a new start"
        return Episode(
            self._attached.board.id,
            injection.kind,
            injection.action,
            struck,
            outcome,
            helped,
            round(time.monotonic() - started, 2),
            reason[:300],
        )

    def _recovered(self, why: str, *, gentle: bool = True) -> str:
        try:
            return self._attached.recover(why, gentle=gentle)
        except HarnessError:
            return "-"

    def _outcome(self, injection: Injection) -> tuple[str, str]:
        """What a run would say of the action, and why."""
        scenario = Scenario(self._bench)
        try:
            try:
                self._act(injection, scenario)
            except (FirmwareFailure, AssertionError) as failure:
                judged_again(self._attached, scenario, failure, lambda fresh: self._act(injection, fresh))
        except BenchFault as problem:
            return "error", f"{type(problem).__name__}: {problem.message}"
        except (HarnessError, AssertionError) as problem:
            return "fail", str(problem)
        return ("pass", "") if self._all_right else ("wrong", "a figure differs from the one without faults")

    def _act(self, injection: Injection, scenario: Scenario) -> None:
        attached = self._attached
        self._all_right = True
        if injection.reset:
            attached.runtime.hard_reset()
        data = random.Random(injection.index).randbytes(3000)
        if injection.action == "measure":
            self._all_right = self._figures(self._measured(scenario)) == self._right
        elif injection.action == "upload":
            path = f"{scenario.folder.rstrip('/')}/hx_soak.bin"
            attached.runtime.put(path, data)
            scenario.take(_FILE, _crc(attached.runtime.get(path)), limit=exactly(_crc(data)))
            attached.runtime.remove(path)
        elif injection.action == "flash" and "romfs" not in attached.board.capabilities:
            scenario.take(_FLASH, _crc(attached.write_spare(data)), limit=exactly(_crc(data)))
        elif injection.action == "flash":
            scenario.write_romfs(build_romfs({"soak.bin": data}))
            answer = attached.runtime.run(_LOOK, timeout=10.0)
            scenario.take(_ROMFS, answer.stdout.decode("ascii", "replace").strip(), limit=exactly(_crc(data)))
        else:
            attached.identify_again()
        scenario.settle()

    def _measured(self, scenario: Scenario | None = None) -> Scenario:
        scenario = scenario or Scenario(self._bench)
        scenario.compare(scenario.run(self._program, timeout=5.0))
        scenario.settle()
        return scenario

    @staticmethod
    def _figures(scenario: Scenario) -> dict[str, object]:
        return {m.name: m.measured for m in scenario.measurements}


def _crc(data: bytes) -> str:
    return f"{zlib.crc32(data):08x}"
