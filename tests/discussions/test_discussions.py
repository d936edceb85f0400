"""Each point of the discussions has somebody who holds it, or a reason why not; and the page says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from .page import PAGE, page
from .points import Holder, Point, discussions, holders

FOUND, HELD = discussions(), holders()
POINTS = {name: point for discussion in FOUND for name, point in discussion.points.items()}


@pytest.mark.parametrize("name", POINTS)
def test_a_point_is_held_or_left_out_with_a_reason(name: str) -> None:
    assert bool(HELD.get(name)) != bool(POINTS[name].left_out)


def test_no_mark_names_a_point_that_there_is_not() -> None:
    assert not set(HELD) - set(POINTS)


def test_the_page_is_what_the_command_makes() -> None:
    assert PAGE.read_text("utf-8") == page(FOUND, HELD), "python -m tests.discussions --write"


def test_marks_are_found_beside_others_and_nothing_else_is(tmp_path: Path) -> None:
    folder = tmp_path / "suites" / "reload"
    folder.mkdir(parents=True)
    (folder / "test_one.py").write_text(
        "import pytest\n"
        "@pytest.mark.needs('x')\n@pytest.mark.holds('a.b', 'a.c')\ndef test_two(board): ...\n"
        "@pytest.mark.skip\ndef test_three(): 'pytest.mark.holds(\"a.d\")'\n"
    )
    (folder / "helper.py").write_text("@pytest.mark.holds('a.e')\ndef test_four(): ...\n")
    two = Holder("suites/reload/test_one.py", "test_two")
    assert holders(tmp_path) == {"a.b": [two], "a.c": [two]}


def test_a_point_that_nobody_holds_is_told() -> None:
    discussion = type(FOUND[0])(
        "A title", "A source", {"a.b": Point("It does."), "a.c": Point("It will.", "Too late.")}
    )
    text = page([discussion], {})
    assert "| `a.b` | It does. | **nobody** |" in text
    assert "| `a.c` | It will. | *left out:* Too late. |" in text
    assert "2 points: 1 are held" in text
