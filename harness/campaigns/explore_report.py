"""What ``harness explore`` did and says: by the contract, or as implemented."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.errors import UsageError
from harness.reference.engine.tree_vm import Level, Moment
from harness.reference.explore.contract import ENDLESS_MOMENTS
from harness.reference.explore.explorer import Exploration, Outcome, Place
from harness.shown import plain

if TYPE_CHECKING:
    from harness.campaigns.explore_program import Options
    from harness.reference.explore.contract import ContractExploration, StruckOutcome
    from harness.reference.own_tree.build import Build

Progress = Callable[[int, int], None]


class Report(Protocol):
    """An exploration that has ended."""

    @property
    def safe(self) -> bool: ...
    def title(self, program: str, seconds: float) -> str: ...
    def print(self, console: Console) -> None: ...
    def as_json(self) -> dict[str, object]: ...


def where(place: Place, source: str, outcome: Outcome) -> str:
    """In words; the line itself when it is the program's own."""
    if not place.line:
        if not getattr(outcome, "late", True):
            return "as main() starts"
        return "after main() had ended" if outcome.ran else "-"
    if place.file:
        return f"{place.file}:{place.line}, in {place.function}"
    lines = source.splitlines()
    text = lines[place.line - 1].strip() if place.line <= len(lines) else ""
    return f"line {place.line}, in {place.function}: {text}"


def _table(outcomes: Sequence[Outcome], counts: str, column: str, rows: Callable[[Outcome], tuple[str, str]]) -> Table:
    table = Table(box=None, padding=(0, 2))
    for heading in ("outcome", counts, "first", column):
        table.add_column(heading, justify="right" if heading in (counts, "first") else "left", overflow="fold")
    for outcome in outcomes:
        shown = outcome.label
        if outcome.output and len(outcomes) > 1:
            shown += f"; printed {plain(outcome.output.decode('utf-8', 'replace').strip(), 120)!r}"
        first, place = rows(outcome)
        style = "bold red" if outcome.failed else "green"
        table.add_row(Text(plain(shown, 300), style=style), str(outcome.count), first, Text(plain(place, 300)))
    return table


def _whole(console: Console, outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        console.print(Text(plain((outcome.output + outcome.error).decode("utf-8", "replace"), 4000)))


# -- as implemented -------------------------------------------------------------------------------


def as_implemented(
    source: str, options: Options, files: dict[str, bytes], note: Callable[[str], None], progress: Progress, why: str
) -> AsImplemented:
    """Explore with a soft callback at the VM's own checks, in the prepared build; ``why`` not by contract."""
    from harness.reference.engine.prepare import vm_module
    from harness.reference.explore.explorer import explore
    from harness.reference.explore.rewind import Rewinder

    if options.point and not options.point.isdecimal():
        raise UsageError(f"--point {options.point!r} is no point", hint="as implemented points are numbers from 0")
    point = int(options.point) if options.point else None
    rewinder = Rewinder(vm_module(note), source, heap_size=options.heap, files=files)
    result = explore(rewinder, options.limits, every_point=options.every_point, only=point, progress=progress)
    return AsImplemented(source, result, point, why)


@dataclass(frozen=True)
class AsImplemented:
    """``point`` is the only one that was tried."""

    source: str
    result: Exploration
    point: int | None
    why: str

    @property
    def safe(self) -> bool:
        return self.result.safe

    def title(self, program: str, seconds: float) -> str:
        text = f"{program}, as implemented{self.why}: {self.result.points} points"
        return text if self.point is not None else f"{text}, {self.result.runs} runs, {seconds:.2f} s"

    @property
    def _part(self) -> str:
        result = self.result
        if result.ended_by:
            return f"the first {result.explored} of "
        return "the first " if result.left_out or result.endless else ""

    def print(self, console: Console) -> None:
        result = self.result
        if result.endless:
            console.print(Text("without the interrupt main() does not end", style="dim"))
        if result.ended_by:
            console.print(Text(f"not all were tried: {result.ended_by} was reached", style="yellow"))
        console.print(_table(result.outcomes, "points", "where the callback ran then", self._row))
        if self.point is not None:
            _whole(console, result.outcomes)
            return
        if result.safe:
            verdict = f"safe at {self._part or 'all '}{result.points} points"
        else:
            count, first = sum(each.count for each in result.failures), result.failures[0].point
            verdict = f"fails at {count} of {self._part}{result.points} points; smallest failing case: --point {first}"
        console.print(Text(verdict, style="green" if result.safe else "bold red"))

    def _row(self, outcome: Outcome) -> tuple[str, str]:
        return str(outcome.point), where(outcome.place, self.source, outcome)

    def as_json(self) -> dict[str, object]:
        result = self.result
        return {
            "by": "implementation",
            "points": result.points,
            "explored": result.explored,
            "runs": result.runs,
            "only_point": self.point,
            "left_out": result.left_out,
            "ended_by": result.ended_by,
            "ends_without_interrupt": not result.endless,
            "late": result.late,
            "safe": result.safe,
            "outcomes": [_as_json(each, "points") for each in result.outcomes],
        }


def _as_json(outcome: Outcome, counts: str) -> dict[str, object]:
    return {
        "outcome": outcome.label,
        "failed": outcome.failed,
        "ending": outcome.ending.value,
        counts: outcome.count,
        "first_point": outcome.point,
        "file": outcome.place.file,
        "line": outcome.place.line,
        "function": outcome.place.function,
        "output": outcome.output.decode("utf-8", "replace"),
        "error": outcome.error.decode("utf-8", "replace"),
    }


# -- by contract ----------------------------------------------------------------------------------

_KINDS = {
    Moment.BYTECODE: "bytecodes",
    Moment.C_CODE: "in C code",
    Moment.POLL: "polls",
    Moment.COLLECTION: "in collections",
    Moment.WAIT: "waits",
}


def by_contract(
    source: str, options: Options, files: dict[str, bytes], built: tuple[bytes, Build], progress: Progress
) -> ByContract:
    """Explore between any two bytecodes, in a build from a source tree."""
    from harness.reference.explore.contract import explore_by_contract, strikes_of
    from harness.reference.explore.struck_life import subject_of

    module, said = built
    subject = subject_of(module, source, heap_size=options.heap, chip=options.chip, version=said.version, files=files)
    result = explore_by_contract(
        subject,
        options.limits,
        level=Level[options.level.upper()],
        strikes=options.strikes,
        only=strikes_of(options.point) if options.point else (),
        progress=progress,
    )
    return ByContract(source, result, options.point, said.label)


@dataclass(frozen=True)
class ByContract:
    """``point`` is what alone was tried, as it was given; ``build`` the reference's name."""

    source: str
    result: ContractExploration
    point: str
    build: str

    @property
    def safe(self) -> bool:
        return self.result.safe

    def title(self, program: str, seconds: float) -> str:
        result = self.result
        kinds = ", ".join(f"{count} {_KINDS[kind]}" for kind, count in result.moments.items() if count)
        level = result.level.name.lower()
        text = f"{program}, by contract, {level}: {kinds or 'no bytecodes'}"
        return text if self.point else f"{text}; {result.runs} runs, {seconds:.2f} s"

    def print(self, console: Console) -> None:
        result = self.result
        if result.endless:
            first = f"of each kind its first {ENDLESS_MOMENTS} moments are explored"
            console.print(Text(f"without the interrupt main() does not end: {first}", style="dim"))
        if result.ended_by:
            share = f"{result.runs} of {result.possible} runs"
            console.print(Text(f"not all were tried: {result.ended_by} was reached after {share}", style="yellow"))
        if result.baseline.error and all(each.error == result.baseline.error for each in result.outcomes):
            said = result.baseline.error.decode("utf-8", "replace").strip().splitlines()
            console.print(Text(plain(f"without the interrupt it ends the same way: {said[-1]}", 300), style="yellow"))
        console.print(_table(result.outcomes, "runs", "where it struck then", self._row))
        if self.point:
            _whole(console, result.outcomes)
            return
        strikes = "one strike or two" if result.strikes == 2 else "one strike"
        rest = f" (of {result.possible})" if result.runs < result.possible else ""
        if result.safe:
            verdict = f"safe in {'' if rest else 'all '}{result.runs} runs{rest} with {strikes}"
        else:
            count, first = sum(each.count for each in result.failures), _point(result.failures[0])
            verdict = f"fails in {count} of {result.runs} runs{rest} with {strikes}"
            verdict += f"; smallest failing case: --point {first}"
        console.print(Text(verdict, style="green" if result.safe else "bold red"))

    def _row(self, outcome: Outcome) -> tuple[str, str]:
        places = getattr(outcome, "places", ()) or (outcome.place,)
        return _point(outcome), "; ".join(where(place, self.source, outcome) for place in places)

    def as_json(self) -> dict[str, object]:
        result = self.result
        return {
            "by": "contract",
            "reference": self.build,
            "level": result.level.name.lower(),
            "strikes": result.strikes,
            "moments": {_KINDS[kind]: count for kind, count in result.moments.items()},
            "points": result.points,
            "runs": result.runs,
            "possible_runs": result.possible,
            "only_point": self.point or None,
            "ended_by": result.ended_by,
            "ends_without_interrupt": not result.endless,
            "late": result.late,
            "safe": result.safe,
            "outcomes": [_as_json(each, "runs") | {"strikes": _point(each)} for each in result.outcomes],
        }


def _point(outcome: Outcome | StruckOutcome) -> str:
    return ",".join(map(str, getattr(outcome, "strikes", ()))) or str(outcome.point)
