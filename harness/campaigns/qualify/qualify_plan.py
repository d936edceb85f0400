"""What a qualification asks of a board, fixed and published before the first scenario runs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from harness.campaigns.bench_run import RunRequest, planned, suite_paths
from harness.errors import UsageError

_LARGEST_PLAN = 64 * 1024


@dataclass(frozen=True)
class Plan:
    """``rounds`` times all ``suites``, then ``soak_suites`` over and over for ``soak_minutes``.

    ``bench_faults`` rounds may be done again because the bench failed; ``marginal`` is how many figures may be
    marginal in a round for the board still to qualify.
    """

    rounds: int = 3
    suites: tuple[str, ...] = ()
    soak_minutes: float = 10.0
    soak_suites: tuple[str, ...] = ("reload", "interrupt")
    bench_faults: int = 1
    marginal: int = 0


def load_plan(file: Path | None) -> Plan:
    """The plan in a YAML file (a mapping with the fields of :class:`Plan`), or the standard one.

    Raises UsageError for a file that is not a plan.
    """
    if file is None:
        return Plan()
    try:
        with file.open("rb") as stream:
            content = yaml.safe_load(stream.read(_LARGEST_PLAN))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as problem:
        raise UsageError(f"the plan {file} cannot be read: {str(problem).splitlines()[0]}") from None
    if not isinstance(content, dict):
        raise UsageError(f"the plan {file}: expected a mapping", hint=f"its keys: {', '.join(asdict(Plan()))}")
    return plan_of(content, str(file))


def plan_of(content: dict[Any, Any], where: str) -> Plan:
    """Raises UsageError that names the first wrong key or value."""
    known = asdict(Plan())
    values: dict[str, Any] = {}
    for key, value in content.items():
        if key not in known:
            raise UsageError(f"{where}: there is no key {key!r:.40} in a plan", hint=f"its keys: {', '.join(known)}")
        if key in ("suites", "soak_suites"):
            if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
                raise UsageError(f"{where}: {key}: expected a list of suites; came {value!r:.60}")
            values[key] = tuple(value)
            continue
        whole = key != "soak_minutes"
        fits = isinstance(value, int | (int if whole else float)) and not isinstance(value, bool)
        if not fits or not (1 if key == "rounds" else 0) <= value <= 10_000:
            raise UsageError(f"{where}: {key}: expected a {'whole ' if whole else ''}number; came {value!r:.60}")
        values[key] = value
    return Plan(**values)


@dataclass(frozen=True)
class Declaration:
    """What stands fast before the run: ``scenarios`` are ``suite: name``; ``files`` are the suites' files with their
    SHA-256, for the limits that scenarios bring with them; ``limits`` those of boards.yaml. ``at`` is a Unix time."""

    at: float
    board: dict[str, Any]
    plan: dict[str, Any]
    limits: dict[str, Any]
    scenarios: tuple[str, ...]
    soak: tuple[str, ...]
    files: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """``limit_order``: the limits' patterns in the order in which they apply; that of JSON's keys says nothing."""
        return json.loads(json.dumps({**asdict(self), "limit_order": list(self.limits)}))  # type: ignore[no-any-return]


def declare(request: RunRequest, plan: Plan, at: float) -> Declaration:
    """What ``plan`` asks of the one board of ``request``. Raises UsageError when a suite is not there or cannot be run,
    or nothing in it is for this board."""
    (board,) = request.boards
    soak = scenarios_of(request, plan.soak_suites) if plan.soak_minutes else ()
    entry = board.model_dump(mode="json", exclude_defaults=True, exclude={"limits", "virtual"})
    if board.virtual is not None:
        entry["virtual"] = board.virtual.model_dump(mode="json", exclude_defaults=True)
    return Declaration(
        at=at,
        board=entry,
        plan=asdict(plan),
        limits={name: limit.model_dump(mode="json", exclude_none=True) for name, limit in board.limits.items()},
        scenarios=scenarios_of(request, plan.suites),
        soak=soak,
        files=_hashes(suite_paths(plan.suites) + (suite_paths(plan.soak_suites) if soak else [])),
    )


def _hashes(paths: list[str]) -> dict[str, str]:
    files = sorted({file for path in map(Path, paths) for file in ([path] if path.is_file() else path.rglob("*.py"))})
    return {f"{file.parent.name}/{file.name}": hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def scenarios_of(request: RunRequest, suites: tuple[str, ...]) -> tuple[str, ...]:
    """The scenarios that would run, as ``suite: name``, without running any."""
    (places,) = planned(replace(request, suites=suites)).boards.values()
    return tuple(sorted(f"{place.suite}: {place.name}" for place in places))
