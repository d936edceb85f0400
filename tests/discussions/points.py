"""The points (``points.yaml``), and the marks in tests and suites that say who holds them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
POINTS = Path(__file__).with_name("points.yaml")
#: Where marks are looked for.
MARKED = ("suites", "tests")


@dataclass(frozen=True)
class Point:
    """One thing that a discussion asks for; ``left_out`` is why nothing here holds it."""

    text: str
    left_out: str = ""


@dataclass(frozen=True)
class Discussion:
    title: str
    source: str
    points: Mapping[str, Point]  # by "kept.none"


@dataclass(frozen=True)
class Holder:
    """A test, or a scenario of a suite."""

    path: str  # from the project's folder
    name: str


def discussions() -> list[Discussion]:
    """Raises ValueError for an entry that is none."""
    found = []
    for key, entry in yaml.safe_load(POINTS.read_text("utf-8")).items():
        points = {f"{key}.{name}": _point(value) for name, value in entry["points"].items()}
        found.append(Discussion(entry["title"], entry["source"], points))
    return found


def _point(value: object) -> Point:
    match value:
        case str():
            return Point(value)
        case {"text": str(text), **rest} if set(rest) <= {"left_out"}:
            return Point(text, str(rest.get("left_out", "")))
    raise ValueError(f"expected a text, or 'text' and 'left_out'; came {value!r}")


def holders(root: Path = ROOT) -> dict[str, list[Holder]]:
    """By point, who says that they hold it; the marks are read and nothing is imported."""
    found: dict[str, list[Holder]] = {}
    for folder in MARKED:
        for path in sorted((root / folder).rglob("test_*.py")):
            text = path.read_text("utf-8")
            for name, points in _marked(ast.parse(text)) if "mark.holds" in text else ():
                for point in points:
                    found.setdefault(point, []).append(Holder(path.relative_to(root).as_posix(), name))
    return found


def _marked(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.holds":
                    yield node.name, [str(ast.literal_eval(argument)) for argument in mark.args]
