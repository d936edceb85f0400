"""The board-by-suite table of docs/emulated-board.md, as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from harness.kinds import RATIO, TIME

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
    boards = list(dict.fromkeys(result.board.id for result in results))
    several = len(results) > len(boards)
    more = ["same figures", "benchmarks differ by"] if several else []
    heads = ["board", "upstream", *suites, "all", "seconds", *more]
    counts = ", ".join(name for name, _ in _OUTCOMES)
    runs_each = ", ".join(map(str, sorted({sum(r.board.id == name for r in results) for name in boards})))
    lines = [
        f"Each cell: {counts}; {runs_each} run{'s' if several else ''} of each board"
        + (", and where they differ the range." if several else "."),
        "",
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
    ]
    for name in boards:
        runs = [result for result in results if result.board.id == name]
        cells = [
            cells_of([[s for s in run.content["scenarios"] if s["suite"] == suite] for run in runs]) for suite in suites
        ]
        cells += [cells_of([run.content["scenarios"] for run in runs]), ranged([round(run.seconds) for run in runs])]
        cells += [same_figures(runs), f"{100 * benchmark_spread(runs):.1f} %"] if several else []
        lines.append(f"| `{name}` | {runs[0].release} | {' | '.join(cells)} |")
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


def cells_of(runs: Sequence[Sequence[Mapping[str, str]]]) -> str:
    """The cells of several runs as one: ``38-39 / 0 / 0-1 / 22``."""
    counts = [[int(count) for count in cell(run).split(" / ")] for run in runs]
    return " / ".join(ranged(of_one_outcome) for of_one_outcome in zip(*counts, strict=True))


def ranged(numbers: Sequence[int]) -> str:
    """``39``, or ``38-39`` where they differ."""
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low}-{high}"


def same_figures(runs: Sequence[Result]) -> str:
    """How many figures that are no times came out the same in each run, of how many: ``210 of 212``."""
    found: dict[str, set[object]] = {}
    for run in runs:
        for scenario in run.content["scenarios"]:
            for one in scenario["measurements"]:
                if one["kind"] not in (TIME.name, RATIO.name):
                    found.setdefault(f"{scenario['name']} {one['name']}", set()).add(one["measured"])
    return f"{sum(len(values) == 1 for values in found.values())} of {len(found)}"


def benchmark_spread(runs: Sequence[Result]) -> float:
    """By how much of its least time a micro-benchmark differed between the runs, at most."""
    times: dict[str, list[float]] = {}
    for run in runs:
        for scenario in run.content["scenarios"]:
            for one in scenario["measurements"]:
                if one["name"].startswith("bench.") and one["measured"]:
                    times.setdefault(one["name"], []).append(one["measured"])
    return max(((max(taken) - min(taken)) / min(taken) for taken in times.values()), default=0.0)


def reasons(results: Sequence[Result]) -> str:
    """Each reason of a fail, an error and a skip, with the scenarios and the boards that it was given for."""
    lines = []
    for title, outcomes in (("Failed", ("fail",)), ("Errors", ("error",)), ("Skipped", ("skipped",))):
        boards: dict[tuple[str, str], set[str]] = {}
        for result in results:
            for scenario in result.scenarios(*outcomes):
                reason = _one_line(scenario["reason"]).replace(f"{result.board.id} has", "the board has")
                boards.setdefault((reason, scenario["name"].partition("[")[0]), set()).add(result.board.id)
        found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for (reason, name), given in boards.items():
            found.setdefault((reason, tuple(sorted(given))), []).append(name)
        if found:
            lines += [f"#### {title}", "", "| scenarios | boards | reason |", "|---|---|---|"]
            every = {result.board.id for result in results}
            for (reason, ids), names in sorted(found.items(), key=lambda item: (-len(item[1]), item[0])):
                told = "all" if set(ids) == every else ", ".join(ids)
                lines.append(f"| {', '.join(sorted(names))} | {told} | {reason} |")
            lines.append("")
    return "\n".join(lines)


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")[:300]
