"""Runs what is to catch a mutation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.judging.outcome import Outcome
from harness.judging.scenario import Scenario
from tests.mutations.applying import Mutation, apply
from tests.suites.two_sides import circuitpython_scenario, lua_scenario, micropython_scenario, suite

ROOT = Path(__file__).parents[2]
_SCENARIO = re.compile(r"suites/([\w/]+\.py)::(\w+)(?:\[([\w.-]+)\])?(?:@(\w+))?")


def caught(mutation: Mutation | None, catcher: str) -> str:
    """What ``catcher``, a scenario, says with ``mutation`` in both sides; empty when it passes."""
    found = _SCENARIO.fullmatch(catcher)
    assert found, catcher
    file, name, parameter, chip = found.groups()
    with pytest.MonkeyPatch.context() as patch:
        if mutation is not None:
            apply(mutation, patch)
        make: Callable[[], Scenario] = circuitpython_scenario
        if chip:
            return _said(lambda: micropython_scenario(chip), file, name, parameter)
        if "nodemcu" in file:
            make = lua_scenario
        return _said(make, file, name, parameter)


def _said(make: Callable[[], Scenario], file: str, name: str, parameter: str | None) -> str:
    function = getattr(suite(file), name)
    arguments = {}
    if parameter is not None:
        mark = next(mark for mark in function.pytestmark if mark.name == "parametrize")
        value = next(value for value in mark.args[1] if str(value) == parameter)
        arguments = {mark.args[0]: value}
    try:
        scenario = make()
        function(scenario, **arguments)
    except (HarnessError, AssertionError) as problem:
        return f"{type(problem).__name__}: {problem}"
    bad = [m for m in scenario.measurements if m.verdict is not Outcome.PASS]
    return f"{bad[0].name} is {bad[0].measured}, expected {bad[0].limit}" if bad else ""


@dataclass(frozen=True)
class Ran:
    """What a test catcher said: without the mutation, and with it; empty where it passed."""

    without: str
    with_it: str


def run_tests(mutations: Sequence[Mutation], folder: Path) -> dict[str, Ran]:
    """By a mutation's name. All tests run in one process, each without and with each mutation that it is to catch."""
    report = folder / "mutations.json"
    ids = sorted({one.catcher for one in mutations})
    names = ",".join(one.name for one in mutations)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.mutations.plugin"]
    command += [f"--mutations={names}", f"--mutations-report={report}", *ids]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    if not report.is_file():
        raise AssertionError(f"pytest ended with {ended.returncode}: {ended.stdout[-2000:]}{ended.stderr[-2000:]}")
    said = json.loads(report.read_text())
    return {
        one.name: Ran(said["without"].get(one.catcher, "was not run"), said["with"].get(one.name, ""))
        for one in mutations
    }
