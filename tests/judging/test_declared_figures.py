"""Declared figures in whole runs: skipped ones, forgotten ones, unknown kinds, and a kind of another package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.judging.added_kind import install

BENCH = """
boards:
  - id: tv32
    chip: esp32
    runtime: micropython
    virtual: {pace: fast}
    firmware: {build: virtual}
"""
ABOUT = """
import pytest
from harness.runtimes.program import Program
from harness.judging.figures import Figure
from harness.kinds import COUNT, named
from harness.judging.limits import at_most, exactly

ONE, TWO = Figure("one", COUNT, limit=exactly(1)), Figure("two", COUNT, limit=exactly(2))
"""
SUITE = """
@pytest.mark.figures(ONE, TWO)
def test_half(scenario):
    scenario.take(ONE, 1)
    scenario.skip_figure(TWO, "nobody knows how many <b>there</b> are")


@pytest.mark.figures(ONE, TWO)
def test_nothing(scenario):
    scenario.skip_figure(ONE, "no first")
    scenario.skip_figure(TWO, "no second")


@pytest.mark.figures(ONE, TWO)
def test_forgotten(scenario):
    scenario.take(ONE, 1)


def test_a_kind_there_is_not(scenario):
    source = "agent.emit('haep', 'x', 'B', 1)\\nagent.done()\\n"
    scenario.compare(scenario.run(Program("wrong", source)))


def test_last(scenario):
    scenario.take(ONE, 1)
"""
ENERGY = """
RADIO = Figure("radio.energy", named("energy"), "mJ", at_most(5, "mJ"))


@pytest.mark.figures(RADIO)
def test_radio(scenario):
    scenario.take(RADIO, 6.54321)
    source = "agent.emit('energy', 'program', 'uJ', '120,121,122')\\nagent.done()\\n"
    scenario.compare(scenario.run(Program("energetic", source)), prefix="whole.")
"""


def harness(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *arguments]
    paths = os.pathsep.join([str(folder / "packages"), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, env=environment)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "boards.yaml").write_text(BENCH)
    (tmp_path / "own").mkdir()
    (tmp_path / "packages").mkdir()
    return tmp_path


def run(folder: Path, suite: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    (folder / "own" / "test_own.py").write_text(ABOUT + suite)
    done = harness(folder, "run", "own", "--json", "out.json", "--junit", "out.xml", "--html", "out.html")
    (board,) = json.loads((folder / "out.json").read_text())["boards"]
    assert done.returncode == json.loads((folder / "out.json").read_text())["exit_code"]
    return done, board


def test_what_could_not_be_taken_is_told_and_the_rest_is_judged(folder: Path) -> None:
    done, board = run(folder, SUITE)
    found = {s["name"]: s for s in board["scenarios"]}
    half = found["half"]
    assert half["outcome"] == "pass"
    assert [(m["name"], m["measured"], m["verdict"]) for m in half["measurements"]] == [
        ("one", 1, "pass"),
        ("two", None, "skipped"),
    ]
    why = "nobody knows how many <b>there</b> are"
    assert half["measurements"][1]["reason"] == why
    assert why in " ".join(done.stdout.split())
    assert "nobody knows how many &lt;b&gt;there&lt;/b&gt; are" in (folder / "out.html").read_text()
    cases = {case.get("name"): case for case in ET.parse(folder / "out.xml").getroot().iter("testcase")}
    assert f"two: {why}" in (cases["half"].findtext("system-out") or "")

    assert (found["nothing"]["outcome"], found["nothing"]["reason"]) == ("skipped", "no first; no second")
    assert cases["nothing"].find("skipped") is not None
    assert len(found["nothing"]["measurements"]) == 2

    assert found["forgotten"]["outcome"] == "broken"
    assert "declared and neither taken nor skipped: 'two'" in found["forgotten"]["reason"]

    wrong = found["a_kind_there_is_not"]
    assert wrong["outcome"] == "broken"
    assert "the program reports 'x' so: there is no kind of measurement 'haep'" in wrong["reason"]
    assert "did you mean 'heap'?" in wrong["reason"]
    assert found["last"]["outcome"] == "pass"  # none of this is the board's fault

    history = harness(folder, "history", "tv32", "--all", "--json", "-")
    names = [(one["scenario"], one["name"]) for one in json.loads(history.stdout)["figures"]]
    assert ("half", "one") in names and ("half", "two") not in names


def test_a_suite_with_an_unknown_kind_is_told_so(folder: Path) -> None:
    (folder / "own" / "test_own.py").write_text(ABOUT + "X = Figure('x', named('tiem'))\n" + SUITE)
    done = harness(folder, "run", "own")
    assert done.returncode == 2
    assert "there is no kind of measurement 'tiem'; did you mean 'time'?" in done.stderr


def test_a_kind_of_another_package_goes_all_the_way(folder: Path) -> None:
    install(folder / "packages", "energy = bench_energy:ENERGY")
    for _ in range(3):
        done, board = run(folder, ENERGY)
    (scenario,) = board["scenarios"]
    radio, program = scenario["measurements"]
    assert scenario["outcome"] == "marginal" and done.returncode == 0  # the kind does not decide
    assert (radio["kind"], radio["unit"], radio["verdict"]) == ("energy", "mJ", "marginal")
    assert (program["name"], program["kind"], program["measured"]) == ("whole.program", "energy", 121)
    assert (program["verdict"], program["limit"]) == ("pass", "within 20 % of 121 uJ, marginal to 40 %")
    assert "6.54 mJ" in done.stdout and "6.54 mJ" in (folder / "out.html").read_text()

    history = harness(folder, "history", "tv32", "--all")
    assert "radio.energy" in history.stdout and "6.54 mJ" in history.stdout
    # A store with such figures is read where the package is not, and its figures are taken elsewhere where it is.
    exported = harness(folder, "store", "export", "out.jsonl")
    assert exported.returncode == 0
    assert harness(folder, "store", "import", "out.jsonl", "--store", "other.sqlite").returncode == 0
    (folder / "packages").rename(folder / "gone")
    without = harness(folder, "history", "tv32", "--all")
    assert without.returncode == 0 and "6.543 mJ" in without.stdout
    refused = harness(folder, "store", "import", "out.jsonl", "--store", "third.sqlite")
    assert refused.returncode == 2 and "there is no kind of measurement 'energy'" in refused.stderr + refused.stdout
