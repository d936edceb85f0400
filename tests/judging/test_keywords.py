"""What ``-k`` selects."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.judging.keywords import Keywords

NAMES = [
    "reload: files are kept",
    "reload: globals modules and paths are gone",
    "reload: the vm restarts[ctrl_d]",
    "interrupt: ctrl c[busy]",
    "flash_execution: files that are no good modules are refused",
]


def selected(*texts: str) -> list[str]:
    return [name for name in NAMES if Keywords(texts).select(name, ("vesp32", "test_it"))]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_as_it_is_printed_selects_itself_alone(name: str) -> None:
    assert selected(name) == [name]
    assert selected(name.replace(" ", "_").upper()) == [name]


def test_words() -> None:
    assert selected("files") == [NAMES[0], NAMES[4]]
    assert selected("files and not good") == [NAMES[0]]
    assert selected("files are or ctrl_c") == [NAMES[0], NAMES[3]]
    assert selected("reload and (globals or files)") == [NAMES[0], NAMES[1]]
    assert selected("are kept files") == []
    assert selected("VESP32") == NAMES
    assert selected("globals", "busy") == [NAMES[1], NAMES[3]]
    assert selected() == NAMES


@pytest.mark.parametrize(
    "text", ["", "and", "a or", "(a", "a)", "not", "a not b", "()", "(" * 90 + "a" + ")" * 90, "a" * 3000]
)
def test_what_is_no_selection_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="-k"):
        Keywords((text,))


@given(st.text(max_size=60))
def test_any_text_selects_or_is_refused(text: str) -> None:
    try:
        Keywords((text,)).select(NAMES[0])
    except UsageError as problem:
        assert problem.message.isprintable()


@given(st.text(alphabet="abcdef gh_", min_size=1).filter(lambda text: text.strip(" _")))
def test_not_is_the_opposite(words: str) -> None:
    for name in NAMES:
        assert Keywords((f"not ({words})",)).select(name) is not Keywords((f"({words})",)).select(name)
