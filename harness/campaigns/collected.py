"""What pytest has collected of the suites: what each board is asked, and what is wrong with them.

This runs inside pytest; :mod:`harness.campaigns.plan` reads what is written here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

import pytest

from harness.campaigns.named_programs import missing_programs
from harness.campaigns.plan import Found, Place, write
from harness.chips import CHIPS
from harness.errors import HarnessError, UsageError
from harness.inventory.fields import CAPABILITIES
from harness.inventory.model import Board
from harness.judging.figures import Figure
from harness.judging.keywords import Keywords
from harness.judging.scenario_names import board_of, name_of, place_of
from harness.paths import shown_path
from harness.runtimes.abilities import ASKED_CAPABILITIES
from harness.runtimes.traits import DEFAULT_RUNTIME, runtime_names

_FOUND = pytest.StashKey[Found]()
_LIMIT = 600
#: In the words of pytest.
_UNKNOWN_MARKER = re.compile(r"'(\w+)' not found in `markers`")


def found_in(config: pytest.Config) -> Found:
    return config.stash.setdefault(_FOUND, Found())


def note_problem(node: pytest.Collector, error: BaseException) -> None:
    """A file, a class or a folder that could not be collected."""
    text = told(error, node.path)
    if unknown := _UNKNOWN_MARKER.search(text):
        text += _near_marker(node.config, unknown[1])
    found_in(node.config).problems.append(text)


def _near_marker(config: pytest.Config, name: str) -> str:
    """The marker that was meant by one that pytest does not know; empty when none is like it."""
    near = get_close_matches(name, _markers(config), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _markers(config: pytest.Config) -> list[str]:
    """The names of the markers that pytest knows: the harness's, its own, and those of the suite's settings."""
    return sorted({re.split(r"[:(]", line, maxsplit=1)[0].strip() for line in config.getini("markers")})


def told(error: BaseException, file: Path, otherwise: str = "") -> str:
    """``file:line: what is wrong``, in one line; the line is that of the suite, not of what it called.

    ``otherwise`` is the place to tell when ``error`` did not come out of the suite's own code.
    """
    cause = error.__cause__ if isinstance(error, pytest.Collector.CollectError) and error.__cause__ else error
    if isinstance(cause, SyntaxError) and cause.filename:
        return f"{shown_path(Path(cause.filename))}:{cause.lineno}: {type(cause).__name__}: {cause.msg}"
    text = f"{type(cause).__name__}: {cause}"
    if isinstance(cause, HarnessError):
        text = f"{cause.message}; {cause.hint}" if cause.hint else cause.message
    place = place_in_suite(cause, file) or otherwise or shown_path(file)
    return f"{place}: {' '.join(text.split())[:_LIMIT]}"


def place_in_suite(error: BaseException, file: Path) -> str:
    """``file:line`` of the innermost of the suite's own code that ``error`` came out of: the scenario in ``file``, or a
    conftest.py. Empty when it came out of neither."""
    place, trace = "", error.__traceback__
    while trace is not None:
        frame = Path(trace.tb_frame.f_code.co_filename)
        if frame == file or frame.name == "conftest.py":
            place = f"{shown_path(frame)}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def line_of(item: pytest.Item) -> str:
    """``file:line`` of a scenario, the file as seen from the current folder."""
    line = item.location[1]
    return f"{shown_path(item.path)}:{line + 1}" if line is not None else shown_path(item.path)


def sort_out(config: pytest.Config, items: list[pytest.Item], boards: Iterable[Board]) -> list[pytest.Item]:
    """The scenarios to run: those for the runtime of their board that are selected. Notes why others are not.

    Raises UsageError for a marker that names no capability or runtime, when no plan is asked for.
    """
    found = found_in(config)
    known = {board.id: board for board in boards}
    keywords = Keywords(tuple(config.getoption("--harness-select")))
    only = _only(config.getoption("--harness-only"))
    chosen = []
    for item in items:
        name = board_of(item)
        if not name:
            chosen.append(item)
            continue
        try:
            wanted = _checked(item)
        except UsageError as problem:
            if not config.getoption("--harness-plan"):
                raise UsageError(f"{line_of(item)}: {problem.message}", hint=problem.hint) from None
            found.problems.append(f"{line_of(item)}: {problem.message}; {problem.hint}")
            continue
        if known[name].runtime not in wanted:
            found.other_runtime[name] = found.other_runtime.get(name, 0) + 1
            continue
        printed = Place(item.path.parent.name, name_of(item)).printed
        if printed not in found.names:
            found.names.append(printed)
        others = (name, item.path.stem, item.name, *(marker.name for marker in item.iter_markers()))
        if keywords.select(printed, others) and (only is None or place_of(item) in only):
            chosen.append(item)
        else:
            found.unselected[name] = found.unselected.get(name, 0) + 1
    return chosen


def _only(file: str) -> set[tuple[str, str, str]] | None:
    return {tuple(place) for place in json.loads(Path(file).read_text("utf-8"))} if file else None


def _checked(item: pytest.Item) -> list[str]:
    """The runtimes that ``item`` is for. Raises UsageError for a marker with a name that there is not, or with
    something else than it takes."""
    declared_by(item)
    known = _markers(item.config)
    for marker in item.iter_markers():
        _known(marker.name, known, "mark", "marker")
    for name in needs_of(item):
        _known(name, CAPABILITIES, "needs", "capability")
    wanted = [name for marker in item.iter_markers("runtime") for name in marker.args]
    for name in wanted:
        _known(name, runtime_names(), "runtime", "runtime")
    return wanted or [DEFAULT_RUNTIME]


def needs_of(item: pytest.Item) -> list[str]:
    """The capabilities of ``@pytest.mark.needs``."""
    return [name for marker in item.iter_markers("needs") for name in marker.args]


def declared_by(item: pytest.Item) -> list[Figure]:
    """The figures of ``@pytest.mark.figures``. Raises UsageError when it holds something else."""
    declared = [figure for marker in item.iter_markers("figures") for figure in marker.args]
    if wrong := [one for one in declared if not isinstance(one, Figure)]:
        raise UsageError(
            f"{item.name} declares {str(wrong[0])[:60]!r}, which is no figure",
            hint="make it with harness.judging.figures.Figure",
        )
    return declared


def _known(name: object, names: Iterable[str], marker: str, what: str) -> None:
    names = list(names)
    if name in names:
        return
    near = get_close_matches(str(name), names, n=1)
    meant = f"{near[0]!r}? " if near else ""
    raise UsageError(
        f"{marker}({name!r:.60}): there is no {what} of that name", hint=f"{meant}known: {', '.join(names)}"
    )


def write_plan(session: pytest.Session) -> None:
    """What would run, and what is wrong with it, to the file of ``--harness-plan``."""
    config = session.config
    found = found_in(config)
    boards: list[Board] = []
    if any(board_of(item) for item in session.items):
        from harness.campaigns.board_session import session_of

        boards = session_of(config).boards
    have = {
        board.id: (*board.capabilities, *(ASKED_CAPABILITIES if CHIPS[board.chip].port is None else ()))
        for board in boards
    }
    found.boards = {board.id: [] for board in boards}
    places: dict[tuple[str, str, str], str] = {}
    for item in session.items:
        if missing := _missing_fixtures(item):
            near = get_close_matches(missing[0], ["scenario", "board_bench", "tmp_path", "request"], n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            found.problems.append(f"{line_of(item)}: {item.name}: there is no fixture {missing[0]!r}{meant}")
        elif not board_of(item):
            found.problems.append(
                f"{line_of(item)}: {item.name} takes no board: give it the fixture 'scenario', or keep it elsewhere"
            )
        else:
            board, suite, name = place_of(item)
            lacks = tuple(need for need in needs_of(item) if need not in have[board])
            where = line_of(item)
            if (first := places.setdefault((board, suite, name), where)) != where:
                found.problems.append(f"{where}: the suite {suite!r} has a scenario {name!r} already: {first}")
            found.boards[board].append(Place(suite, name, where, lacks))
    for file in dict.fromkeys(item.path for item in session.items):
        found.problems += missing_programs(file)
    found.problems = list(dict.fromkeys(found.problems))
    write(found, Path(config.getoption("--harness-plan")))


def _missing_fixtures(item: pytest.Item) -> list[str]:
    """Names that ``item`` asks for and that nobody gives. pytest finds out only when the scenario's turn comes."""
    info = getattr(item, "_fixtureinfo", None)
    parameters = getattr(item, "callspec", None)
    given = {"request", *(info.name2fixturedefs if info else ()), *(parameters.params if parameters else ())}
    return [name for name in getattr(item, "fixturenames", ()) if name not in given]
