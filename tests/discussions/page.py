"""docs/discussions.md, made of the points and the marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .points import ROOT, Discussion, Holder, Point

PAGE = ROOT / "docs" / "discussions.md"

_HEAD = """# What the discussions ask for

The systems that the suites put to the test come from five public discussions. Here is what those ask for, point by
point, and which scenario (run on boards) or test (of the reference and the virtual boards) holds it. A mark in the
test says so, `@pytest.mark.holds("kept.none")`; this page is made of the marks by
`python -m tests.discussions --write`, and a test fails when a point has no holder and no reason, or when this page is
not what the command makes.
"""


def page(found: Sequence[Discussion], holders: Mapping[str, Sequence[Holder]]) -> str:
    every = {name: point for discussion in found for name, point in discussion.points.items()}
    left_out = [name for name, point in every.items() if point.left_out]
    on_boards = [name for name in every if any(_on_boards(holder) for holder in holders.get(name, ()))]
    counts = (
        f"{len(every)} points: {len(every) - len(left_out)} are held, {len(on_boards)} of them by a scenario that runs "
        f"on boards; {len(left_out)} are left out, with the reason."
    )
    parts = [_HEAD, counts, ""]
    for discussion in found:
        parts += [f"## {discussion.title}", "", f"{discussion.source}.", "", "| point | | held by |", "|---|---|---|"]
        parts += [_row(name, point, holders.get(name, ())) for name, point in discussion.points.items()]
        parts.append("")
    return "\n".join(parts)


def _row(name: str, point: Point, held_by: Sequence[Holder]) -> str:
    if point.left_out:
        return f"| `{name}` | {point.text} | *left out:* {point.left_out} |"
    ordered = sorted(held_by, key=lambda holder: (not _on_boards(holder), holder.path, holder.name))
    return f"| `{name}` | {point.text} | {', '.join(map(_named, ordered)) or '**nobody**'} |"


def _named(holder: Holder) -> str:
    name = holder.name.removeprefix("test_")
    if _on_boards(holder):
        return f"scenario [{name}](../{holder.path})"
    return f"[{name}](../{holder.path})"


def _on_boards(holder: Holder) -> bool:
    return holder.path.startswith("suites/")
