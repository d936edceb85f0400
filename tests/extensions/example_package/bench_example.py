"""A package of a lab: a chip, a power switch, a kind of measurement and a report, added to the harness without a fork.

Its pyproject.toml would say::

    [project.entry-points."harness.chips"]
    example = "bench_example:NRF52840"
    [project.entry-points."harness.power"]
    notebook = "bench_example:NOTEBOOK"
    [project.entry-points."harness.kinds"]
    energy = "bench_example:ENERGY"
    [project.entry-points."harness.reports"]
    csv = "bench_example:CSV"
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from harness.chips import Chip
from harness.errors import UsageError
from harness.inventory.model import Power
from harness.kinds import Effect, Kind, Within
from harness.power.switch import SwitchMethod
from harness.results.report.formats import Finished, ReportFormat

NRF52840 = Chip(
    name="nrf52840",
    family="generic",
    boot_offset=0x0,
    flash_map=(),
    port_unknown="this package does not say what MicroPython's nrf port promises",
)

ENERGY = Kind(
    "energy",
    "what a board takes from its supply",
    ("uJ", "mJ"),
    Within(20, 40, "an ammeter's accuracy"),
    decides=False,
    history=Effect(relative=0.05),
    higher_is_worse=True,
)


@dataclass(frozen=True)
class Notebook:
    """Writes down what would be switched: the simplest switch that can be looked at afterwards."""

    file: Path

    @property
    def name(self) -> str:
        return f"notebook {self.file.name}"

    def on(self) -> None:
        self._note("on")

    def off(self) -> None:
        self._note("off")

    def _note(self, word: str) -> None:
        with self.file.open("a") as notes:
            notes.write(f"{word}\n")


def _notebook(power: Power) -> Notebook:
    if not isinstance(power.options.get("file"), str):
        raise UsageError("power.options of the method 'notebook': expected 'file'")
    return Notebook(Path(str(power.options["file"])))


NOTEBOOK = SwitchMethod("notebook", _notebook)


def _csv(finished: Finished, file: Path) -> None:
    with file.open("w", newline="") as target:
        rows = csv.writer(target)
        for board in finished.run.boards:
            for scenario in board.scenarios:
                for figure in scenario.measurements:
                    rows.writerow([board.id, scenario.suite, figure.name, figure.kind, figure.measured, figure.unit])


CSV = ReportFormat("csv", _csv)
