"""The board-by-suite table of docs/emulated-board.md, as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from .bench import Result

#: The order of the counts in a cell.
_OUTCOMES = (("passed", ("pass", "marginal")), ("failed", ("fail",)), ("errors", ("error",)), ("skipped", ("skipped",)))


def cell(scenarios: Iterable[Mapping[str, str]]) -> str:
    """``5 / 0 / 1 / 3``: passed, failed, errors, skipped."""
    counts = Counter(scenario["outcome"] for scenario in scenarios)
    return " / ".join(str(sum(counts[outcome] for outcome in outcomes)) for _, outcomes in _OUTCOMES)


def table(results: Sequence[Result]) -> str:
    """One line for each board, one column for each suite; a board with several runs has the range of each count."""
    suites = sorted({s["suite"] for result in results for s in result.content["scenarios"]})
    lines = [
        f"Each cell: {', '.join(name for name, _ in _OUTCOMES)}.",
        "",
        f"| board | upstream | {' | '.join(suites)} | all | seconds |",
        f"|---|---|{'---|' * len(suites)}---|---|",
    ]
    for name in dict.fromkeys(result.board.id for result in results):
        runs = [result for result in results if result.board.id == name]
        cells = [
            _range([[s for s in run.content["scenarios"] if s["suite"] == suite] for run in runs]) for suite in suites
        ]
        whole = _range([run.content["scenarios"] for run in runs])
        seconds = max(run.seconds for run in runs)
        lines.append(f"| `{name}` | {runs[0].release} | {' | '.join(cells)} | {whole} | {seconds:.0f} |")
    return "\n".join(lines) + "\n"


def equal_heap(result: Result) -> str:
    """How many of the heap figures that have a reference are equal to it to the byte, and each that is not."""
    rows = [
        (scenario["name"], figure)
        for scenario in result.content["scenarios"]
        for figure in scenario["measurements"]
        if figure["unit"] == "B" and figure["reference"] is not None
    ]
    other = [(name, figure) for name, figure in rows if figure["measured"] != figure["reference"]]
    lines = [f"{result.board.id}: {len(rows) - len(other)} of {len(rows)} heap figures equal to the byte"]
    lines += [
        f"  {name}: {figure['name']} {figure['measured']}, reference {figure['reference']} ({figure['limit']})"
        for name, figure in other
    ]
    return "\n".join(lines)


def _range(runs: Sequence[Sequence[Mapping[str, str]]]) -> str:
    """The cells of several runs as one; where they differ, all of them."""
    return ", ".join(dict.fromkeys(cell(run) for run in runs))


def reasons(results: Sequence[Result]) -> str:
    """Each reason of a fail, an error and a skip, with the boards and scenarios that it was given for."""
    lines = []
    for title, outcomes in (("Failed", ("fail",)), ("Errors", ("error",)), ("Skipped", ("skipped",))):
        found: dict[str, dict[str, set[str]]] = {}
        for result in results:
            for scenario in result.scenarios(*outcomes):
                found.setdefault(_one_line(scenario["reason"]), {}).setdefault(scenario["name"], set()).add(
                    result.board.id
                )
        if found:
            lines += [f"## {title}", "", "| scenarios | boards | reason |", "|---|---|---|"]
            for reason, scenarios in sorted(found.items(), key=lambda item: -len(item[1])):
                boards = sorted(set().union(*scenarios.values()))
                lines.append(f"| {', '.join(sorted(scenarios))} | {', '.join(boards)} | {reason} |")
            lines.append("")
    return "\n".join(lines)


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")[:300]
