"""CircuitPython's scenarios with a reference in the board's place: a sound one passes."""

from __future__ import annotations

from typing import Any

import pytest

from harness.judging.outcome import Outcome
from tests.suites.two_sides import CIRCUITPYTHON, circuitpython_scenario, scenarios

#: Safe mode is the virtual board's and real ones'; the others need a board that runs a start of its own.
NOT_HERE = ("test_safe_mode",)


@pytest.mark.parametrize(("function", "arguments"), list(scenarios(CIRCUITPYTHON, NOT_HERE)))
def test_it_passes(function: Any, arguments: dict[str, Any]) -> None:
    scenario = circuitpython_scenario()
    function(scenario, **arguments)
    assert scenario.outcome is Outcome.PASS, [m for m in scenario.measurements if m.verdict is not Outcome.PASS]
