"""What a test program comes to, on the reference VM and on VMs that are in trouble."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.campaigns.conformance.conformance_programs import collect
from harness.campaigns.conformance.conformance_report import exit_code, to_json
from harness.campaigns.conformance.conformance_run import Outcome, Report, Restartable, Result, run_programs
from harness.errors import BenchFault, FirmwareFailure
from harness.reference.vm import ReferenceVm
from harness.runtimes.interface import RunResult

BAR = "-" * 70


@pytest.fixture(scope="module")
def reference() -> Iterator[ReferenceVm]:
    with ReferenceVm() as vm:
        yield vm


def run(folder: Path, vm: Restartable, timeout: float = 20.0, **programs: str) -> Report:
    return run_all(folder, vm, programs, timeout)


def run_all(folder: Path, vm: Restartable, programs: dict[str, str], timeout: float = 20.0) -> Report:
    for name, source in programs.items():
        name, _, expected = name.partition("__")
        (folder / f"{name}.py{'.exp' if expected else ''}").write_text(source)
    return run_programs(collect([folder]), vm, timeout=timeout)


def outcomes(report: Report) -> dict[str, tuple[Outcome, str]]:
    return {result.name.removesuffix(".py"): (result.outcome, result.reason) for result in report.results}


def test_output_is_held_against_the_file_or_against_cpython(tmp_path: Path, reference: ReferenceVm) -> None:
    report = run(
        tmp_path,
        reference,
        same="print(2**70)",
        file="print(1)",
        file__exp="1\n",
        other="print('a')\nimport sys\nprint(sys.implementation.name)",
        wrong="print(1)",
        wrong__exp="2\n",
    )
    found = outcomes(report)
    assert found["same"] == found["file"] == (Outcome.PASSED, "")
    assert found["other"] == (Outcome.FAILED, "output differs at line 2")
    assert found["wrong"] == (Outcome.FAILED, "output differs at line 1")
    other = next(result for result in report.results if result.name == "other.py")
    assert other.difference is not None
    assert (other.difference.expected, other.difference.came) == (b"cpython", b"micropython")
    assert exit_code(report) == 1


def test_what_cannot_be_judged_is_skipped_with_the_reason(tmp_path: Path, reference: ReferenceVm) -> None:
    (tmp_path / "binary.py").write_bytes(b"# \xff\n")
    report = run(
        tmp_path,
        reference,
        skip='print("SKIP")\nraise SystemExit',
        large='print("SKIP-TOO-LARGE")',
        only_here="import micropython\nprint(1)",
        emitter="import micropython\n@micropython.native\ndef f(): pass",
    )
    found = outcomes(report)
    assert {outcome for outcome, _ in found.values()} == {Outcome.SKIPPED}
    assert found["skip"][1] == "the program says so"
    assert found["large"][1] == "too large for this VM's heap"
    assert found["only_here"][1].startswith("no expectation: no .exp file, and CPython fails: ModuleNotFoundError")
    assert found["emitter"][1] == "this VM was built without the code emitter it asks for"
    assert found["binary"][1] == "not UTF-8 text"
    assert exit_code(report) == 2, "a run that compared nothing must not look like a pass"


def test_a_program_that_says_skip_among_other_things_is_judged(tmp_path: Path, reference: ReferenceVm) -> None:
    found = outcomes(run(tmp_path, reference, a='print("SKIP")\nprint(1)', a__exp="1\n"))
    assert found["a"][0] is Outcome.FAILED


def test_a_program_in_trouble_fails_alone(tmp_path: Path, reference: ReferenceVm) -> None:
    crash = "import uctypes\nuctypes.bytearray_at(0xfffffff0, 8)[0] = 1"
    report = run(
        tmp_path,
        reference,
        timeout=3,
        a_never_ends="while True: pass",
        b_heap="x = []\nwhile True: x.append([0] * 100)",
        c_flood="while True: print('a' * 10000)",
        d_crash=crash,
        d_crash__exp="",
        e_recursion="def f(): f()\nf()",
        f_leaves_a_mess="import builtins, vfs\nvfs.umount('/')\nleft = 1\nprint(1)",
        f_leaves_a_mess__exp="1\n",
        g_fine="print('left' in globals())",
    )
    found = outcomes(report)
    failed = {name: reason for name, (outcome, reason) in found.items() if outcome is Outcome.FAILED}
    assert "did not end within 3 s" in failed.pop("a_never_ends")
    assert "MemoryError" in failed.pop("b_heap")
    assert "printed more than 4096 kB" in failed.pop("c_flood")
    assert "crashed" in failed.pop("d_crash")
    assert "maximum recursion depth exceeded" in failed.pop("e_recursion")
    assert failed == {}
    assert found["f_leaves_a_mess"][0] is found["g_fine"][0] is Outcome.PASSED


def test_a_unittest_program_is_judged_by_its_summary(tmp_path: Path) -> None:
    vm = ScriptedVm([f"{BAR}\nRan 2 tests\n\nOK\n", f"x\n{BAR}\nRan 2 tests\n\nFAILED (failures=1, errors=0)\n"])
    found = outcomes(run(tmp_path, vm, a="import no_such", b="import no_such"))
    assert found == {"a": (Outcome.PASSED, ""), "b": (Outcome.FAILED, "unittest: FAILED (failures=1, errors=0)")}


class ScriptedVm:
    """Prints, or raises, one thing after another; ``resets`` are the exceptions of the soft resets."""

    def __init__(self, outputs: list[str | BaseException], resets: dict[int, Exception] | None = None) -> None:
        self.outputs = iter(outputs)
        self.resets = resets or {}
        self.soft = self.hard = 0
        self.revived = True

    def run(self, source: str, *, timeout: float = 30.0) -> RunResult:
        output = next(self.outputs)
        if isinstance(output, BaseException):
            raise output
        return RunResult(output.replace("\n", "\r\n").encode(), b"", 0.0)

    def soft_reset(self) -> None:
        self.soft += 1
        if self.soft in self.resets:
            raise self.resets[self.soft]

    def hard_reset(self) -> None:
        self.hard += 1
        if not self.revived:
            raise FirmwareFailure("it crashes at once")


PRINTS = {f"p{n}": "print(1)" for n in range(3)}


def test_each_program_has_a_fresh_vm_and_a_hard_reset_helps_one_that_hangs(tmp_path: Path) -> None:
    vm = ScriptedVm(["1\n"] * 3, resets={2: BenchFault("no answer")})
    report = run_all(tmp_path, vm, PRINTS)
    assert (vm.soft, vm.hard) == (3, 1)
    assert report.count(Outcome.PASSED) == 3


def test_a_program_that_loses_the_line_gets_a_second_try_and_then_fails_alone(tmp_path: Path) -> None:
    lost = BenchFault("no answer")
    found = outcomes(run_all(tmp_path, ScriptedVm([lost, "1\n", lost, lost, "1\n"]), PRINTS))
    assert found == {
        "p0": (Outcome.PASSED, ""),
        "p1": (Outcome.FAILED, "the VM was lost twice: no answer"),
        "p2": (Outcome.PASSED, ""),
    }


@pytest.mark.parametrize("ending", ["fault", "dead", "interrupt"])
def test_what_was_done_stays_in_the_report_whatever_ends_the_run(tmp_path: Path, ending: str) -> None:
    trouble: dict[str, BaseException] = {"fault": BenchFault("unplugged"), "interrupt": KeyboardInterrupt()}
    resets: dict[str, dict[int, Exception]] = {"fault": {3: BenchFault("x")}, "dead": {2: FirmwareFailure("x")}}
    vm = ScriptedVm(["1\n", trouble.get(ending, "1\n")], resets=resets.get(ending))
    vm.revived = False
    report = run_all(tmp_path, vm, PRINTS)
    assert [result.outcome for result in report.results] == [Outcome.PASSED]
    assert report.not_run == 2
    assert exit_code(report) == (130 if ending == "interrupt" else 3)
    as_json = to_json(report, "x", None)
    assert as_json["counts"] == {"passed": 1, "failed": 0, "skipped": 0, "not_run": 2}
    assert as_json["interrupted"] is (ending == "interrupt")
    assert (as_json["fault"] is None) is (ending == "interrupt")


def test_the_exit_code_is_zero_only_when_something_passed_and_nothing_failed() -> None:
    def code(*outcomes: Outcome) -> int:
        return exit_code(Report([Result("x", outcome) for outcome in outcomes], len(outcomes)))

    assert code(Outcome.PASSED, Outcome.SKIPPED) == 0
    assert code(Outcome.PASSED, Outcome.FAILED) == 1
    assert code(Outcome.SKIPPED) == 2
