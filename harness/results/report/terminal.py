"""A run on the terminal: live while it goes, and the table at its end.

Board text is untrusted: it is never markup and holds no escapes when it comes here or leaves.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.judging.outcome import Outcome
from harness.kinds import Value, stored
from harness.shown import Terminal, plain

if TYPE_CHECKING:
    from harness.inventory.model import Board
    from harness.judging.compare import Measurement
    from harness.results.run_record import BoardRecord, RunRecord, ScenarioResult


STYLES = {
    Outcome.PASS: "green",
    Outcome.MARGINAL: "yellow",
    Outcome.FAIL: "bold red",
    Outcome.ERROR: "magenta",
    Outcome.BROKEN: "bold magenta",
    Outcome.SKIPPED: "dim",
}


#: Kinds of events after which a person has something to do, so that their words are shown.
TO_DO = ("lab", "lfs")
_TO_DO_TOLD = 4
#: Kinds of events named in one line; an imported store can hold any.
_KINDS_TOLD = 8


def _outcome(outcome: Outcome) -> Text:
    return Text(outcome.value, style=STYLES[outcome])


# -- live ----------------------------------------------------------------------------------------


@dataclass
class _Row:
    id: str
    chip: str
    doing: str = "waiting"
    done: int = 0
    total: int = 0
    planned: int = 0
    results: list[Outcome] = field(default_factory=list)
    ended: bool = False


#: A run of more scenarios than this is shown suite by suite: nobody reads five hundred lines of what went well.
_BRIEF_FROM = 100
#: Steps worth a line where there is no live table.
_MILESTONES = {"starting the virtual board", "connect", "write", "waiting for the VM", "calibrating"}


def _is_milestone(step: str) -> bool:
    return step in _MILESTONES or step.endswith("(once)")  # set-up work that may take a while


def terminal(*, to_stderr: bool = False) -> Console:
    """The console of a command; wide enough for the table where the output is no terminal."""
    console = Terminal(stderr=to_stderr)
    if not console.is_terminal:
        console.width = max(console.width, 120)
    return console


class LiveView:
    """Shows events as they come: a table on a terminal, a line an event elsewhere."""

    def __init__(self, boards: list[Board], console: Console) -> None:
        self._console = console
        self._rows = {board.id: _Row(board.id, board.chip) for board in boards}
        self._started = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> LiveView:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: dict[str, Any]) -> None:
        row = self._rows.get(event["board"])
        if event["event"] == "told":  # of the run, not of a board
            self._console.print(Text(f"note: {plain(str(event['text']))}", style="yellow"), soft_wrap=True)
        if row is not None:
            # An event comes from another process, which may be crashing: what makes no sense is not shown.
            with contextlib.suppress(KeyError, ValueError, TypeError, OverflowError):
                self._take(row, event)
        if self._live is not None:
            self._live.update(self._table(), refresh=True)

    def _take(self, row: _Row, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "step":
            text = _one_line(event.get("text", ""), 60)
            if text != row.doing and self._live is None and not row.results and _is_milestone(text):
                self._line(row, text)
            row.doing, row.done, row.total = text, int(event.get("done", 0)), int(event.get("total", 0))
        elif kind == "planned":
            row.planned = int(event.get("count", 0))
        elif kind == "scenario":
            row.doing, row.total = f"{_one_line(event.get('suite'), 30)}: {_words(event)}", 0
        elif kind == "ready":
            written, seconds = int(event.get("written", 0)), float(event.get("seconds", 0))
            what = f"{written / 1024:.0f} kB written in {seconds:.1f} s" if written else "firmware unchanged"
            self._line(row, f"ready: {_one_line(event.get('firmware'), 60)}, {what}")
        elif kind == "result":
            outcome = Outcome(event["outcome"])
            row.results.append(outcome)
            self._line(row, f"{_one_line(event.get('suite'), 30)}: {_words(event)}", outcome)
        elif kind == "end":
            row.ended = True
            if event.get("not_asked"):
                self._line(row, "not asked: no scenario for it is selected")
            row.doing, row.total = _one_line(event.get("problem") or "done", 60), 0

    def _line(self, row: _Row, text: str, outcome: Outcome | None = None) -> None:
        if self._live is not None:
            return
        line = Text(f"{time.monotonic() - self._started:6.1f} s  {row.id:12} ")
        if outcome is not None:
            line.append(f"{outcome.value:9}", style=STYLES[outcome])
        line.append(text)
        self._console.print(line, soft_wrap=True)

    def _table(self) -> RenderableType:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False, expand=True)
        table.add_column(no_wrap=True)
        table.add_column(width=min(20, self._console.width // 5))
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")  # one line a board, however narrow
        table.add_column(no_wrap=True, overflow="ellipsis")
        for row in self._rows.values():
            bar: RenderableType = Text("")
            if row.total:
                bar = ProgressBar(row.total, row.done)
            elif row.planned:
                bar = ProgressBar(row.planned, len(row.results))
            counts = Text()
            for outcome in Outcome:
                count = row.results.count(outcome)
                if count:
                    counts.append(f"{count} {outcome.value}  ", style=STYLES[outcome])
            style = "dim" if row.ended else ""
            table.add_row(Text(row.id, style="bold"), bar, Text(row.doing, style=style), counts)
        elapsed = Text(f"{time.monotonic() - self._started:.0f} s", style="dim")
        return Group(table, elapsed)


def _words(event: dict[str, Any]) -> str:
    return _one_line(event.get("name", ""), 80).replace("_", " ")


def _one_line(value: object, limit: int) -> str:
    return plain(" ".join(str(value).split()), limit)


# -- the table at the end ------------------------------------------------------------------------


def print_run(run: RunRecord, console: Console, *, all_figures: bool = False, state: Path | None = None) -> None:
    """The run as people read it: a block a board, the figures, the reasons, one closing line.

    ``state`` is the bench's state folder, where the transcripts are.

    A large run has one line for each suite that went well.
    """
    brief = not all_figures and sum(len(board.scenarios) for board in run.boards) > _BRIEF_FROM
    for board in run.boards:
        if brief:
            _print_briefly(board, console)
        else:
            _print_board(board, console, all_figures)
    _print_reasons(run, console, state)
    console.print(closing_line(run))
    if brief:
        console.print(Text("every figure: --figures, or --html FILE", style="dim"))


def _print_briefly(board: BoardRecord, console: Console) -> None:
    """Suites that went well as a line each; what did not in full."""
    _print_heading(board, console)
    suites: dict[str, list[ScenarioResult]] = {}
    for scenario in board.scenarios:
        suites.setdefault(scenario.suite, []).append(scenario)
    for suite, scenarios in suites.items():
        bad = [s for s in scenarios if s.outcome not in (Outcome.PASS, Outcome.SKIPPED)]
        passed = [s for s in scenarios if s.outcome is Outcome.PASS]
        skipped = len(scenarios) - len(bad) - len(passed)
        if passed:
            line = Text("  ")
            line.append(f"{Outcome.PASS.value:9}", style=STYLES[Outcome.PASS])
            figures = sum(len(s.measurements) for s in passed)
            line.append(f"{_one_line(suite, 40):17}{len(passed):3} scenarios {figures:5} figures")
            line.append(f"{sum(s.seconds for s in passed):8.1f} s", style="dim")
            line.append(f"  {skipped} skipped" if skipped else "", style="dim")
            console.print(line)
        elif not bad:
            console.print(Text(f"  {Outcome.SKIPPED.value:9}{_one_line(suite, 40)}", style="dim"))
        for scenario in bad:
            _print_scenario(scenario, console, False)
    _print_trouble(board, console)


def _print_board(board: BoardRecord, console: Console, all_figures: bool) -> None:
    _print_heading(board, console)
    if board.scenarios:
        columns = f"{'':10}{'figure':29}{'measured':>16}{'reference':>17}  limit"
        console.print(Text(columns, style="dim"))
    for scenario in board.scenarios:
        _print_scenario(scenario, console, all_figures)
    _print_trouble(board, console)


def _print_heading(board: BoardRecord, console: Console) -> None:
    heading = Text("\n")
    heading.append(_one_line(board.id, 40), style="bold")
    firmware = f"{_one_line(board.firmware.name, 60)} {_one_line(board.firmware.version, 60)}"
    heading.append(f"  {board.chip}  {firmware}", style="dim")
    console.print(heading)
    rules = {(stored(m.kind), m.rule) for s in board.scenarios for m in s.measurements if m.rule}
    for family, rule in sorted({(kind.family, rule) for kind, rule in rules if kind.by_board}):
        console.print(Text(f"  {family}: {plain(rule, 200)}", style="dim"))


def _print_trouble(board: BoardRecord, console: Console) -> None:
    if board.problem:
        console.print(Text(f"  {plain(board.problem)}", style=STYLES[Outcome.ERROR]))
    if board.events:
        console.print(Text(f"  {events_words(board)}", style="yellow"))
    for event in [event for event in board.events if event.kind in TO_DO][-_TO_DO_TOLD:]:
        console.print(Text(f"  {event.kind}: {_one_line(event.text, 300)}", style="yellow"), soft_wrap=True)


def events_words(board: BoardRecord) -> str:
    """What happened to a board beside its scenarios, in one line: ``events: 2 × retry, 1 × recovery``."""
    counts: dict[str, int] = {}
    for event in board.events:
        kind = _one_line(event.kind, 20)
        counts[kind] = counts.get(kind, 0) + 1
    told = [f"{count} × {kind}" for kind, count in counts.items()]
    return "events: " + ", ".join([*told[:_KINDS_TOLD], *(["…"] if len(told) > _KINDS_TOLD else [])])


def _print_scenario(scenario: ScenarioResult, console: Console, all_figures: bool) -> None:
    title = Text("  ")
    title.append(f"{scenario.outcome.value:9}", style=STYLES[scenario.outcome])
    title.append(_title(scenario))
    title.append(f"  {scenario.seconds:.1f} s", style="dim")
    shown = list(scenario.measurements)
    # Figures that are all well say little singly: two of bytes or time stand for them.
    skipped = [m for m in shown if m.verdict is Outcome.SKIPPED]
    if not all_figures and shown and all(m.verdict in (Outcome.PASS, Outcome.SKIPPED) for m in shown):
        telling = [m for m in shown if stored(m.kind).telling and m not in skipped]
        if len(shown) > 2 or len(telling) < len(shown):
            title.append(f"  {len(shown)} figures" if len(shown) > 1 else "", style="dim")
            shown = [*telling[:2], *skipped]
    console.print(title)
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False, expand=True)
    table.add_column(width=9)
    table.add_column(width=28, no_wrap=True, overflow="ellipsis")
    table.add_column(width=16, justify="right", no_wrap=True, overflow="ellipsis")
    table.add_column(width=16, justify="right", no_wrap=True, overflow="ellipsis")
    table.add_column(width=0)
    table.add_column(ratio=1, overflow="fold")
    for m in shown:
        style = "" if m.verdict is Outcome.PASS else STYLES[m.verdict]
        mark = "" if m.verdict is Outcome.PASS else m.verdict.value
        table.add_row(
            Text(f"{mark:>9}", style=style),
            Text(plain(m.name, 80), style=style),
            _figure(m.measured, m),
            _figure(m.reference, m, dim=True),
            "",
            Text(plain(m.limit if m.measured is not None else m.reason, 160), style="dim"),
        )
    if shown:
        console.print(table)


def _title(scenario: ScenarioResult) -> str:
    return _one_line(f"{scenario.suite}: {scenario.name.replace('_', ' ')}", 160)


def _figure(value: Value | None, m: Measurement, *, dim: bool = False) -> Text:
    if value is None:
        return Text("")
    if isinstance(value, str):
        value = plain(value, 40)
    return Text(plain(stored(m.kind).written(value, m.unit), 80), style="dim" if dim else "")


def _print_reasons(run: RunRecord, console: Console, state: Path | None) -> None:
    told = [
        (board.id, scenario)
        for board in run.boards
        for scenario in board.scenarios
        if scenario.reason and not (scenario.outcome is Outcome.ERROR and scenario.reason == board.problem)
    ]
    if told:
        console.print()
    for board_id, scenario in told:
        line = _outcome(scenario.outcome)
        line.append(f" {plain(board_id, 40)} {_title(scenario)}", style="bold")
        line.append(f"\n  {plain(scenario.reason, 1200)}", style="default not bold")
        console.print(line)
        if scenario.transcript and scenario.outcome in (Outcome.FAIL, Outcome.ERROR, Outcome.BROKEN):
            # As it can be given to 'harness replay', from here.
            path = scenario.transcript if state is None else os.path.relpath(state / scenario.transcript)
            console.print(Text(f"  {_one_line(path, 200)}", style="dim"), soft_wrap=True)


def closing_line(run: RunRecord) -> Text:
    """``2 boards: 14 passed, 1 marginal, … in 31.2 s``."""
    all_outcomes = [scenario.outcome for board in run.boards for scenario in board.scenarios]
    words = {"pass": "passed", "fail": "failed", "error": "errors"}
    line = Text(f"\n{len(run.boards)} board{'s' if len(run.boards) != 1 else ''}: ")
    parts = []
    for outcome in Outcome:
        count = all_outcomes.count(outcome)
        if count or outcome in (Outcome.PASS, Outcome.FAIL, Outcome.ERROR):
            style = STYLES[outcome] if count else "dim"
            word = words.get(outcome.value, outcome.value)
            parts.append(Text(f"{count} {word.removesuffix('s') if count == 1 else word}", style=style))
    line.append_text(Text(", ").join(parts))
    broken = sum(bool(board.problem) for board in run.boards)
    if broken:
        line.append(f", {broken} board{'s' if broken > 1 else ''} with a bench fault", style=STYLES[Outcome.ERROR])
    if run.finished:
        line.append(f" in {run.finished - run.started:.1f} s", style="dim")
    else:
        line.append(", interrupted before the end", style=STYLES[Outcome.ERROR])
    return line
