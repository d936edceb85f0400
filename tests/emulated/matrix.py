"""What the suites say of firmware with one wrong setting: caught by which figures, or hidden by which limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from harness.kinds import stored

from .bench import Result
from .boards import Defect

#: By so much a micro-benchmark must be another than on healthy firmware to be told, when its limit hides it.
_MOVED_PERCENT = 3.0
#: So many scenarios, or figures, are told of each.
_SHOWN = 4

CAUGHT, TOLD, MISSED, BLAMED = "caught", "told", "missed", "**bench blamed**"
#: The board is gone with what it did, and nothing can bring it back: an error that says both.
LOST = "board lost"
_SINCE = "Since then the board stays away"


@dataclass(frozen=True)
class Finding:
    """One defect against the same firmware without it. ``by``: scenarios and figures; ``hidden``: moved, and passed."""

    defect: Defect
    came: str
    by: tuple[str, ...]
    hidden: tuple[str, ...] = ()

    @property
    def problem(self) -> str:
        """How it differs from what the defect's record says that the suites see; empty when it does not."""
        if self.came is BLAMED:
            return f"{self.defect.name}: the bench is blamed: {'; '.join(self.by)}"
        wanted = LOST if self.defect.loses_board else CAUGHT if self.defect.caught else MISSED
        if LOST in (self.came, wanted):
            seen = self.came is wanted and all(one.startswith(self.defect.caught) for one in self.by)
            return "" if seen else f"{self.defect.name}: {self.came} by {'; '.join(self.by)}, expected: {wanted}"
        if (self.came is CAUGHT) != (wanted is CAUGHT):
            return f"{self.defect.name}: {self.came}, expected: {wanted}"
        lacking = [name for name in self.defect.caught if not any(fnmatchcase(by, f"{name}*") for by in self.by)]
        return f"{self.defect.name}: not seen by {', '.join(lacking)}" if lacking else ""


def finding(defect: Defect, result: Result, healthy: Result) -> Finding:
    """What came of ``result``, the defect's, by what ``healthy``, the same firmware without it, gave."""
    before = {_name(scenario): scenario for scenario in healthy.content["scenarios"]}
    failed = tuple(_failure(one) for one in result.scenarios("fail"))
    blamed = [f"{_name(one)}: {_short(one['reason'])}" for one in result.scenarios("error", "broken")]
    if result.content["problem"]:
        blamed.insert(0, _short(result.content["problem"]))
    hidden = tuple(_moved(result, healthy))
    if blamed:
        errors = result.scenarios("error", "broken")
        if errors and not failed and all(_SINCE in one["reason"] for one in errors):
            return Finding(defect, LOST, tuple(blamed), hidden)
        return Finding(defect, BLAMED, (*blamed, *failed), hidden)
    if failed:
        return Finding(defect, CAUGHT, failed)
    skipped = [one for one in result.scenarios("skipped") if before.get(_name(one), one)["outcome"] != "skipped"]
    told: dict[str, list[str]] = {}
    for one in skipped:
        told.setdefault(_short(one["reason"]), []).append(_name(one))
    by = [f"skipped: {', '.join(names)}: {reason}" for reason, names in told.items()]
    by += [f"marginal: {_figures(one, 'marginal')}" for one in result.scenarios("marginal")
           if before[_name(one)]["outcome"] == "pass"]  # fmt: skip
    return Finding(defect, TOLD if by else MISSED, tuple(by), hidden)


def matrix(findings: Sequence[Finding]) -> str:
    """One line for each defect, as Markdown, and the counts."""
    lines = ["| defect | what is wrong | came | by | moved, and within its limit |", "|---|---|---|---|---|"]
    for one in findings:
        by, hidden = ("; ".join(_cell(text) for text in _some(texts)) for texts in (one.by, one.hidden))
        if one.came is not CAUGHT:
            hidden = "; ".join(filter(None, (hidden or "no figure", one.defect.hidden)))
        lines.append(f"| `{one.defect.name}` | {_cell(one.defect.effect)} | {one.came} | {by} | {hidden} |")
    caught, lost, told, missed, blamed = (
        sum(one.came is word for one in findings) for word in (CAUGHT, LOST, TOLD, MISSED, BLAMED)
    )
    counts = f"{caught} caught, {lost} lost the board, {told} told (a skip with its reason, or marginal), "
    counts += f"{missed} missed, {blamed} blamed"
    lines += ["", f"{len(findings)} defects: {counts} on the bench."]
    return "\n".join(lines) + "\n"


def _name(scenario: Mapping[str, Any]) -> str:
    return f"{scenario['suite']}: {str(scenario['name']).replace('_', ' ')}"


def _failure(scenario: Mapping[str, Any]) -> str:
    """``interrupt: ctrl c[busy] (ctrl_c.seen is False, expected …)``, or the reason where no figure failed."""
    return f"{_name(scenario)} ({_figures(scenario, 'fail') or _short(scenario['reason'])})"


def _figures(scenario: Mapping[str, Any], verdict: str) -> str:
    bad = [one for one in scenario["measurements"] if one["verdict"] == verdict]
    told = [f"{one['name']} {_written(one)}, expected {_short(one['limit'])}" for one in bad[:1]]
    return "; ".join([*told, *([f"{len(bad) - 1} more"] if len(bad) > 1 else [])])


def _moved(result: Result, healthy: Result) -> Iterator[str]:
    """Figures that passed although they are not what they are on healthy firmware, and the limits that let them."""
    before = {
        (scenario["name"], one["name"]): one
        for scenario in healthy.content["scenarios"]
        for one in scenario["measurements"]
    }
    for scenario in result.content["scenarios"]:
        for one in scenario["measurements"]:
            other = before.get((scenario["name"], one["name"]))
            if one["verdict"] == "pass" and other and other["measured"] is not None and _is_moved(one, other):
                yield f"{one['name']} {_written(one)} instead of {_written(other)}, limit: {_short(one['limit'])}"


def _is_moved(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a figure is another. Of times only those of the micro-benchmarks repeat well enough to say it."""
    if not stored(one["kind"]).calibrated:
        return bool(one["measured"] != other["measured"]) and one["kind"] != "ratio"
    apart = abs(one["measured"] - other["measured"])
    return str(one["name"]).startswith("bench.") and 100 * apart > _MOVED_PERCENT * other["measured"]


def _written(one: Mapping[str, Any]) -> str:
    return _short(stored(one["kind"]).written(one["measured"], one["unit"]))


def _some(texts: Sequence[str]) -> list[str]:
    shown = list(texts[:_SHOWN])
    return [*shown, *([f"{len(texts) - len(shown)} more"] if len(texts) > len(shown) else [])]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _short(text: str) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= 140 else f"{one_line[:139]}…"
