"""A runtime of another package: found by its entry point, accepted in boards.yaml, spoken to, judged, replayed."""

from __future__ import annotations

import json
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness import extensions
from harness.errors import UsageError
from harness.inventory.load import load_bench
from harness.runtimes.traits import runtime_names, traits_of

ENTRY_POINTS = "[harness.runtimes]\ntally = tally_runtime:TRAITS\n"
PACKAGE = '''
"""Tally: a VM that takes a program as a line of hex digits, and answers with output and error in hex digits."""

import contextlib
import io

from harness.errors import BenchFault
from harness.runtimes.interface import Facts, RunResult
from harness.runtimes.recorded import recorded_call
from harness.runtimes.traits import RuntimeTraits
from harness.runtimes.wired import Wired

TRAITS = RuntimeTraits(
    name="tally",
    title="Tally",
    language="python",
    client="tally_runtime:client",
    reference="tally_runtime:reference",
)
FACTS = Facts("tally", "Tally 1.0", "tally board", 4, None, 65536, 0)


def client(session, means):
    return TallyBoard(session, means.reset, means.intervene)


def reference(attached, progress):
    return TallyReference()


class TallyBoard(Wired):
    facts = FACTS

    def _ask(self, line):
        self.session.write(line + b"\\n")
        read = self.session.read_until(b"\\n", idle=2.0, deadline=5.0)
        if not read.ok:
            raise BenchFault(f"no answer: {read}")
        return read.data.strip()

    @recorded_call
    def enter(self, *, after_reset=False):
        if self._ask(b"") != b"|":
            raise BenchFault("this is no Tally")

    @recorded_call
    def run(self, source, *, timeout=30.0, interrupt_at=b""):
        output, _, error = self._ask(source.encode().hex().encode()).decode().partition("|")
        return RunResult(bytes.fromhex(output), bytes.fromhex(error), 0.0)

    @recorded_call
    def read_facts(self):
        return FACTS

    @recorded_call
    def soft_reset(self):
        self.enter()

    @recorded_call
    def verify_programs(self, on):
        pass

    def close(self):
        self.session.close()


class TallyReference:
    facts = FACTS

    def run(self, source, *, timeout=30.0, interrupt_at=b""):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            exec(source)
        return RunResult(said.getvalue().encode(), b"", 0.0)

    def soft_reset(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass
'''
BENCH = """
boards:
  - id: one
    chip: generic
    runtime: {runtime}
    identity: {{url: "socket://127.0.0.1:{port}"}}
    reset: {{method: none}}
"""
SUITE = """
import pytest
from harness.judging.figures import Figure
from harness.kinds import COUNT

SUM = Figure("sum", COUNT)


@pytest.mark.runtime("tally")
@pytest.mark.figures(SUM)
def test_sum(scenario):
    board, reference = (int(runtime.run("print(6 * 7)").stdout) for runtime in scenario.both)
    scenario.take(SUM, board, reference)


def test_of_the_usual_runtime(scenario):
    raise AssertionError("not for this board")
"""


class _Tally(socketserver.StreamRequestHandler):
    """The board: it knows ``print(6 * 7)``, and with ``wrong`` not what that is, unless it is asked without spaces."""

    wrong = False

    def handle(self) -> None:
        for line in self.rfile:
            program = bytes.fromhex(line.decode().strip())
            answers = {b"print(6 * 7)": b"41" if self.wrong else b"42", b"print(6*7)": b"42"}
            said = answers[program] + b"\r\n" if program in answers else b""
            self.wfile.write(said.hex().encode() + b"|\n")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A bench with one board, which answers, and the package beside it."""
    site = tmp_path / "site"
    (site / "tally_runtime-1.0.dist-info").mkdir(parents=True)
    (site / "tally_runtime.py").write_text(PACKAGE)
    (site / "tally_runtime-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tally-runtime\nVersion: 1.0\n"
    )
    (site / "tally_runtime-1.0.dist-info" / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "test_own.py").write_text(SUITE)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Tally) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (tmp_path / "boards.yaml").write_text(BENCH.format(runtime="tally", port=server.server_address[1]))
        yield tmp_path
        server.shutdown()


def harness(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, (str(folder / "site"), os.environ.get("PYTHONPATH", ""))))
    command = [sys.executable, "-m", "harness", *arguments]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def run(folder: Path) -> tuple[int, dict[str, str]]:
    done = harness(folder, "run", "own", "--json", "out.json")
    (board,) = json.loads((folder / "out.json").read_text())["boards"]
    return done.returncode, {one["name"]: one["outcome"] for one in board["scenarios"]}


def test_a_runtime_of_another_package_is_run_judged_and_replayed(folder: Path) -> None:
    assert run(folder) == (0, {"sum": "pass"})
    (transcript,) = (folder / ".harness" / "transcripts").glob("*/one.jsonl")
    replayed = harness(folder, "replay", str(transcript))
    assert replayed.returncode == 0, replayed.stdout
    assert "ended as they did then" in replayed.stdout


def test_its_firmware_can_fail_and_is_looked_at_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Tally, "wrong", True)
    assert run(folder) == (1, {"sum": "fail"})
    (transcript,) = (folder / ".harness" / "transcripts").glob("*/one.jsonl")
    assert "verify_programs" in transcript.read_text()


@pytest.fixture
def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package on this process's path."""
    monkeypatch.syspath_prepend(str(folder / "site"))
    extensions.forget()
    yield folder
    sys.modules.pop("tally_runtime", None)
    extensions.forget()


def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(installed: Path) -> None:
    file = installed / "boards.yaml"
    assert load_bench(file).boards[0].runtime == "tally"
    file.write_text(file.read_text().replace("runtime: tally", "runtime: taly"))
    with pytest.raises(UsageError) as problem:
        load_bench(file)
    assert "boards[0].runtime: expected one of micropython, circuitpython, nodemcu, tally" in problem.value.message
    assert "nearest valid runtime is 'tally'" in problem.value.message


@pytest.mark.parametrize(
    ("name", "target", "words"),
    [
        ("micropython", "tally_runtime:TRAITS", "'micropython' is given by vm-harness and tally-runtime"),
        ("tally", "tally_runtime:FACTS", "'tally' of tally-runtime is no RuntimeTraits, tally_runtime:FACTS is Facts"),
        ("tally", "tally_runtime:NOTHING", "'tally' of tally-runtime cannot be used: .*AttributeError"),
        ("tally", "no_such_module:TRAITS", "'tally' of tally-runtime cannot be used: .*ModuleNotFoundError"),
        ("other", "tally_runtime:TRAITS", "'other' leads to the traits of 'tally'"),
    ],
)
def test_a_package_at_fault_is_named(installed: Path, name: str, target: str, words: str) -> None:
    points = installed / "site" / "tally_runtime-1.0.dist-info" / "entry_points.txt"
    points.write_text(f"[harness.runtimes]\n{name} = {target}\n")
    with pytest.raises(UsageError, match=words):
        traits_of(name)


def test_names_are_known_without_an_import(installed: Path) -> None:
    assert runtime_names() == ("micropython", "circuitpython", "nodemcu", "tally")
    assert "tally_runtime" not in sys.modules


@pytest.mark.parametrize("name", ["micropython", "circuitpython", "nodemcu"])
def test_what_the_records_of_ours_name_is_there(name: str) -> None:
    traits = traits_of(name)
    for place in filter(None, (traits.client, traits.reference, traits.probe, traits.virtual_firmware)):
        assert callable(extensions.resolve(place))


@pytest.mark.parametrize("changes", [{"name": "Not A Name"}, {"client": "somewhere"}, {"reference": "a:b; c"}])
def test_a_record_that_cannot_be_right_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        replace(traits_of("nodemcu"), **changes)  # type: ignore[arg-type]
