"""What a test program is to print, and the first line that differs."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.campaigns.conformance.expectation import Difference, NoExpectation, first_difference, from_cpython, normal

LINES = st.lists(st.sampled_from([b"a", b"b", b"ab", b""]), max_size=5)


def joined(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def test_the_first_line_that_differs_is_named() -> None:
    assert first_difference(b"1\n2\n3\n", b"1\n2\n3\n") is None
    assert first_difference(b"1\n2\n3\n", b"1\nx\ny\n") == Difference(2, b"2", b"x")
    assert first_difference(b"1\n2\n", b"1\n") == Difference(2, b"2", b"")
    assert first_difference(b"1\n2\n", b"1\n2") == Difference(3, b"", None)
    assert first_difference(b"", b"1\n") == Difference(1, b"", b"1")


def test_a_wildcard_line_stands_for_any_number_of_lines() -> None:
    expected = b"begin\n########\nmiddle\n########\nend\n"
    assert first_difference(expected, b"begin\nmiddle\nend\n") is None
    assert first_difference(expected, b"begin\n1\n2\nmiddle\nmiddle\n3\nend\n") is None
    assert first_difference(expected, b"begin\n1\nend\n") == Difference(2, b"middle", b"1")
    assert first_difference(expected, b"begin\nmiddle\n") == Difference(3, b"end", b"")
    assert first_difference(expected, b"x\nmiddle\nend\n") == Difference(1, b"begin", b"x")


def test_one_line_does_not_serve_two_parts() -> None:
    assert first_difference(b"a\n########\na\n", b"a\n") is not None
    assert first_difference(b"########\na\n########\na\n########\nz\n", b"a\nz\n") is not None


def test_patterns_count_only_beside_a_wildcard() -> None:
    pattern = b"from \\[0-9a-f\\]\\+: (x.y)\n"
    assert first_difference(b"########\n" + pattern, b"from 22600: (x.y)\n") is None
    assert first_difference(b"########\n" + pattern, b"from 22600: (x-y)\n") is not None
    assert first_difference(pattern, b"from 22600: (x.y)\n") is not None


def test_a_broken_pattern_matches_nothing_but_itself() -> None:
    assert first_difference(b"########\n\\(\n", b"(\n") is not None
    assert first_difference(b"########\n\\(\n", b"\\(\n") is None


@given(LINES, LINES, LINES)
def test_whatever_stands_in_place_of_a_wildcard_is_accepted(
    head: list[bytes], any_: list[bytes], tail: list[bytes]
) -> None:
    expected = joined([*head, b"########", *tail])
    assert first_difference(expected, joined([*head, *any_, *tail])) is None


@settings(max_examples=300)
@given(st.lists(st.sampled_from([b"a", b"b", b"########"]), max_size=6), LINES)
def test_wildcards_agree_with_a_regular_expression(expected: list[bytes], came: list[bytes]) -> None:
    pattern = b"".join(rb"(?:[^\n]*\n)*" if line == b"########" else line + b"\n" for line in expected)
    matches = re.fullmatch(pattern, joined(came)) is not None
    assert (first_difference(joined(expected), joined(came)) is None) is matches


def test_line_ends_of_a_terminal_count_as_those_of_a_file() -> None:
    assert normal(b"a\r\nb\r\r\nc\rd\n") == b"a\nb\nc\rd\n"


def test_without_a_file_cpython_says_what_is_expected(tmp_path: Path) -> None:
    program = tmp_path / "x.py"
    program.write_text("import os\nprint(sorted(os.listdir()), 'ä')")
    assert from_cpython(program) == "[] ä\n".encode()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module_here", "CPython fails: ModuleNotFoundError: No module named 'no_such_module_here'"),
        ("raise SystemExit(3)", "CPython fails: exit status 3"),
        ("while True: pass", "CPython does not end it within 0.5 s"),
        ("while True: print('a' * 100000)", "CPython fails: "),
        ("x = bytearray(1 << 40)", "CPython fails: MemoryError"),
    ],
)
def test_a_program_that_cpython_cannot_run_has_no_expectation(tmp_path: Path, source: str, reason: str) -> None:
    program = tmp_path / "x.py"
    program.write_text(source)
    with pytest.raises(NoExpectation, match=re.escape(reason)):
        from_cpython(program, timeout=0.5 if "pass" in source else 30)


def test_cpython_is_isolated_from_the_programs_folder(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("")
    program = tmp_path / "x.py"
    program.write_text("import beside")
    with pytest.raises(NoExpectation, match="No module named 'beside'"):
        from_cpython(program)
