"""Histories on the terminal: grouped by scenario, readable on 80 columns; no name is ever broken."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from harness.kinds import Kind, Value, number, with_unit
from harness.results.change import Step, Verdict
from harness.results.series import Entry, History, changed_with
from harness.shown import plain

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 24
#: Where there is no room for 24 runs.
_NARROW_WIDTH, _NARROW = 12, 100
_RUNS, _NOW, _BASELINE = 5, 14, 18
_NAME_LEAST, _NAME_LIMIT = 12, 80
_STATE_LIMIT = 16

Judged = Sequence[tuple[History, Verdict]]


def sparkline(entries: tuple[Entry, ...], width: int = _WIDTH) -> str:
    """The newest ``width`` figures as bars; each state as a letter, in the order in which they came up."""
    values = [entry.measured for entry in entries[-width:]]
    if any(isinstance(value, str) for value in values):
        order = list(dict.fromkeys(values))
        return "".join(chr(ord("a") + min(order.index(value), 25)) for value in values)
    numbers = [float(value) for value in values]
    low, high = min(numbers), max(numbers)
    if not high > low:
        return _BARS[3] * len(numbers)
    return "".join(_BARS[min(7, int(8 * (n - low) / (high - low)))] for n in numbers)


def day(started: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(started))


def figure(value: Value | None, unit: str = "", kind: Kind | None = None) -> str:
    """A value with its unit, in one line and bounded; as its kind is written, where that is known."""
    if value is None:
        return "-"
    if isinstance(value, str):
        value = plain(" ".join(value.split()), 40)
    return with_unit(value, unit) if kind is None else kind.written(value, unit)


def never_changed(history: History) -> bool:
    """Whether the figure was the same in all runs."""
    return all(entry.measured == history.entries[0].measured for entry in history.entries)


def print_histories(console: Console, judged: Judged, *, constant: bool = False) -> None:
    """A heading for each scenario and firmware line, a line for each figure, one more for its last step.

    Figures that never changed are only counted, unless ``constant`` asks for them.
    """
    shown = [(h, v) for h, v in judged if constant or not never_changed(h)]
    shown.sort(key=lambda row: row[0].line)  # stable: within a line as before
    several = len({history.line for history, _ in judged}) > 1
    width = console.width
    trend = _WIDTH if width >= _NARROW else _NARROW_WIDTH
    room = max(_NAME_LEAST, width - trend - _RUNS - _NOW - _BASELINE - 8)
    name = min(room, max((len(_name(history)) for history, _ in shown), default=0))
    if shown:
        heading = f"  {'figure':{name}}{'runs':>{_RUNS}}  {'trend':{trend}}{'now':>{_NOW}}  baseline"
        console.print(Text(heading, style="dim"), soft_wrap=True)
    still = Counter(_group(history) for history, _ in judged if never_changed(history))
    group = ("", "", "")
    for history, verdict in shown:
        before, group = group, _group(history)
        if several and group[0] != before[0]:
            console.print(Text(f"firmware line {plain(group[0], 60)}", style="bold underline"), soft_wrap=True)
        if group != before:
            words = plain(" ".join(f"{group[1]}: {group[2].replace('_', ' ')}".split()), 160)
            console.print(Text(words, style="bold"), soft_wrap=True)
            if still[group] and not constant:
                console.print(Text(f"  {_many(still[group], 'figure')} never changed", style="dim"), soft_wrap=True)
        for line in _lines(history, verdict, name, trend):
            console.print(line, soft_wrap=True)
    hidden = [history for history, _ in judged if never_changed(history)]
    if hidden and not constant:
        console.print(Text(_hidden_words(hidden), style="dim"), soft_wrap=True)


def _hidden_words(hidden: Sequence[History]) -> str:
    scenarios = len({(history.suite, history.scenario) for history in hidden})
    return f"{_many(len(hidden), 'figure')} in {_many(scenarios, 'scenario')} never changed (--all shows them)"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _name(history: History) -> str:
    return plain(" ".join(history.name.split()), _NAME_LIMIT)


def _group(history: History) -> tuple[str, str, str]:
    return history.line, history.suite, history.scenario


def _lines(history: History, verdict: Verdict, name_width: int, trend_width: int) -> Iterator[Text]:
    name = _name(history)
    words = "-"
    if verdict.baseline is not None:
        scatter = "" if verdict.baseline.exact else f" ± {number(round(verdict.baseline.scatter, 2))}"
        words = f"{figure(verdict.baseline.middle, '', history.measured_as)}{scatter}"
    if len(name) > name_width:  # a line of its own, in one piece
        yield Text(f"  {name}")
        name = ""
    trend = sparkline(history.entries, trend_width)
    now = figure(history.entries[-1].measured, history.unit, history.measured_as)
    if len(now) > _NOW:
        now = now[: _NOW - 1] + "…"
    yield Text(f"  {name:{name_width}}{len(history.entries):>{_RUNS}}  {trend:{trend_width}}{now:>{_NOW}}  {words}")
    if verdict.steps:
        yield Text(f"    {step_words(history, verdict.steps[-1])}", style="yellow")


def step_words(history: History, step: Step) -> str:
    """From what to what, and the first run of it."""
    first = history.entries[step.first]
    since = f"since run {first.run}, {day(first.started)}, {plain(first.version, 40) or 'unknown firmware'}"
    kind = history.measured_as
    before, after = (plain(figure(value, "", kind), _STATE_LIMIT) for value in (step.before, step.after))
    way = {True: ": worse", False: ": better", None: ""}[kind.worse(step.before, step.after)]
    suite = f"; {words}" if (words := changed_with(history, step)) else ""
    return f"{before} → {after} {since}{way}{'' if step.confirmed else ' (seen once)'}{suite}"
