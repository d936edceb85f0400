"""docs/first-contact.md, made by meeting each situation and writing down what the harness says."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .situations import SITUATIONS, plain

PAGE = Path(__file__).parents[2] / "docs" / "first-contact.md"
TEST = "tests/first_contact/test_first_contact.py"
_HEAD = f"""# First contact

What a board can have against you when it meets the harness for the first time, and what is said then, word for word
("…" stands for what the board itself said). Each line is rehearsed on a virtual board by
`{TEST}::test_it_says_what_the_page_says`, named as in the last column; this table is made by
`python -m tests.first_contact --write`, and the test fails when the words are others. What a virtual board can be for
that stands in [faults.md](faults.md).

| situation | what the harness says | rehearsed as |
|---|---|---|
"""


def said_in(slug: str) -> str:
    """What the harness says in a situation now, as the page has it."""
    with tempfile.TemporaryDirectory() as folder:
        return cell(plain(SITUATIONS[slug].rehearse(Path(folder))))


def cell(words: str) -> str:
    """``words`` in a cell of a table."""
    return "<br>".join(line.strip() for line in words.replace("|", "\\|").splitlines())


def page(said: Mapping[str, str]) -> str:
    return _HEAD + "".join(f"| {SITUATIONS[slug].title} | {words} | `{slug}` |\n" for slug, words in said.items())


def rows(text: str) -> dict[str, tuple[str, str]]:
    """Title and words of each situation in the page."""
    found = re.findall(r"^\| (.+?) \| (.+) \| `([a-z0-9-]+)` \|$", text, re.MULTILINE)
    return {slug: (title, words) for title, words, slug in found}
