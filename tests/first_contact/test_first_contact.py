"""What a board has against you at its first meeting: the harness says what docs/first-contact.md says that it does."""

from __future__ import annotations

import pytest

from .page import PAGE, page, rows, said_in
from .situations import SITUATIONS

FOUND = rows(PAGE.read_text("utf-8"))


@pytest.mark.parametrize("slug", SITUATIONS)
def test_it_says_what_the_page_says(slug: str) -> None:
    assert said_in(slug) == FOUND[slug][1], f"python -m tests.first_contact --write {slug}"


def test_the_page_has_these_situations_and_no_others() -> None:
    assert {slug: title for slug, (title, _) in FOUND.items()} == {s.slug: s.title for s in SITUATIONS.values()}
    assert page({slug: words for slug, (_, words) in FOUND.items()}) == PAGE.read_text("utf-8")


@pytest.mark.parametrize("slug", sorted(set(SITUATIONS) - {"asked-for-its-buttons", "psram-not-found"}))
def test_each_says_what_to_try(slug: str) -> None:
    _, words = FOUND[slug]
    assert "<br>try: " in words or "look at" in words or "erase" in words


@pytest.mark.parametrize("slug", ["strap-low", "strap-low-on-an-esp8266", "brown-out-loop", "psram-missing"])
def test_nobody_is_sent_to_the_cable_or_to_write_again_for_what_the_words_prove(slug: str) -> None:
    _, words = FOUND[slug]
    assert "flash it again" not in words and "check the cable" not in words
