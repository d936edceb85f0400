"""Which scenarios a run is going to ask of which board: found out before a board is touched, and what its results are
held against at the end.

The suites are collected once, for all boards, by pytest in a process of its own (:func:`collect`). There the plugin
writes down what was found (:class:`Found`, :func:`write`): the scenarios of each board, and everything that is wrong
with the suites.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from pathlib import Path

from harness.campaigns.board_process import BoardProcess
from harness.errors import BenchFault, UsageError

#: Collecting takes a second; a suite that does things at import may take longer. In seconds.
_PATIENCE = 120.0
_PROBLEMS_TOLD = 20


@dataclass(frozen=True)
class Place:
    """A scenario of a board: its suite and name as they are printed, ``file:line``, and the capabilities that
    boards.yaml does not say the board has: with one of them it is skipped."""

    suite: str
    name: str
    where: str = ""
    lacks: tuple[str, ...] = ()

    @property
    def printed(self) -> str:
        return f"{self.suite}: {self.name.replace('_', ' ')}"


@dataclass
class Found:
    """``boards``: the scenarios selected, by board. ``other_runtime`` and ``unselected`` count those that are not asked
    of it, and ``names`` are all that there is to select. ``problems`` are ``file:line: what is wrong``."""

    boards: dict[str, list[Place]] = field(default_factory=dict)
    other_runtime: dict[str, int] = field(default_factory=dict)
    unselected: dict[str, int] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def without(self, done: Mapping[str, Counter[tuple[str, str]]]) -> Found:
        """What is left to do after ``done``, by board: suite and name, as often as it has a result."""
        left = {board: left_of(places, done.get(board, Counter())) for board, places in self.boards.items()}
        return Found(left, self.other_runtime, self.unselected, self.names, self.problems)


def left_of(places: Sequence[Place], done: Counter[tuple[str, str]]) -> list[Place]:
    """Those of ``places`` that are not in ``done``: suite and name, as often as it has a result."""
    ended, left = Counter(done), []
    for place in places:
        if ended[place.suite, place.name] > 0:
            ended[place.suite, place.name] -= 1
        else:
            left.append(place)
    return left


def write(found: Found, file: Path) -> None:
    file.write_text(json.dumps(asdict(found)), "utf-8")


def _read(file: Path) -> Found:
    content = json.loads(file.read_text("utf-8"))
    boards = {
        board: [Place(p["suite"], p["name"], p["where"], tuple(p["lacks"])) for p in places]
        for board, places in content.pop("boards").items()
    }
    return Found(boards, **content)


def collect(arguments: Sequence[str], folder: Path) -> Found:
    """What pytest with ``arguments`` (suites, bench, boards, selection) would run; files go to ``folder``.

    Raises UsageError with file and line for suites that cannot be run as they are, BenchFault when the process that
    looks dies.
    """
    file, log = folder / "plan.json", folder / "plan.log"
    file.unlink(missing_ok=True)
    process = BoardProcess([*arguments, "--collect-only", "-q", "--harness-plan", str(file)], log)
    try:
        code = process.wait(_PATIENCE)
    except KeyboardInterrupt:
        process.kill()
        raise
    if code is None:
        process.kill()
        process.close()
        raise UsageError(
            f"the suites could not be collected within {_PATIENCE:g} s",
            hint="a suite that waits or measures when it is imported? Do that in a scenario or a fixture",
        )
    process.close()
    try:
        found = _read(file)
        if code == 4 and not found.problems:
            raise ValueError("pytest did not come to its end")
    except (OSError, ValueError, KeyError, TypeError):
        tail = " / ".join(log.read_text("utf-8", "replace").strip().splitlines()[-3:])
        if code == 4:  # pytest's own: a wrong option, a file that is not there
            raise UsageError(f"the suites cannot be collected: {tail[:400]}") from None
        raise BenchFault(f"the suites could not be collected, code {code}: {tail[:400]}") from None
    if found.problems:
        told = "".join(f"\n  {problem}" for problem in found.problems[:_PROBLEMS_TOLD])
        more = len(found.problems) - _PROBLEMS_TOLD
        told += f"\n  and {more} more" if more > 0 else ""
        raise UsageError(f"the suites cannot be run as they are; no board was touched:{told}")
    return found


def require_some(found: Found, keywords: Sequence[str]) -> None:
    """Raises UsageError when no board has a scenario."""
    if any(found.boards.values()):
        return
    if keywords and found.names:
        near = [name for text in keywords for name in get_close_matches(text, found.names, n=3, cutoff=0.4)]
        hint = f"{'; '.join(near)}; " if near else ""
        raise UsageError(
            f"no scenario is selected by -k {' '.join(keywords)!a:.200}; no board was touched",
            hint=f"{hint}'harness run --list' shows all {len(found.names)}",
        )
    raise UsageError("no scenario fits the chosen boards and suites; no board was touched")
