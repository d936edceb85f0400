"""What a test program is to print, and where its output first differs from that.

A line ``########`` in an ``.exp`` file stands for any number of lines. In a file that has such a line the others
may hold patterns: one of ``()[]{}.*+^$`` is a regular expression's own after a backslash, and means itself without
(MicroPython ``tests/run-tests.py``, which does this for a list of its programs; here the wildcard tells).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from harness.children import end_with_parent
from harness.reference.engine.bounds import bound

WILDCARD = b"########"
#: What CPython may print and use, in bytes, and how long it may take, in seconds.
_OUTPUT_LIMIT = 4 * 1024 * 1024
_MEMORY_LIMIT = 2 * 1024 * 1024 * 1024
CPYTHON_TIMEOUT = 30.0
#: A longer line is compared as it is, never as a pattern: the output is untrusted, and patterns can be slow.
_PATTERN_LINE = 4096
#: What means itself unless there is a backslash before it (MicroPython ``tests/run-tests.py``).
_LITERAL = re.compile(rb"[()\[\]{}.*+^$]")


class NoExpectation(Exception):
    """There is nothing to compare with. Its text says why."""


@dataclass(frozen=True)
class Difference:
    """The first line that differs, counted from 1 in the output. None: there is no such line."""

    line: int
    expected: bytes | None
    came: bytes | None


def from_file(path: Path) -> bytes:
    """The content of an ``.exp`` file. Raises NoExpectation when it cannot be read."""
    try:
        return normal(path.read_bytes())
    except OSError as problem:
        raise NoExpectation(f"{path.name} cannot be read: {problem.strerror}") from None


def from_cpython(program: Path, *, timeout: float = CPYTHON_TIMEOUT) -> bytes:
    """What this CPython prints, isolated (``-I``) and in an empty folder: it sees what a VM sees.

    Raises NoExpectation when CPython fails, does not end in ``timeout`` seconds, or prints without end.
    """
    command = [sys.executable, "-I", "-S", "-B", "-X", "utf8", str(program.resolve())]
    with tempfile.TemporaryDirectory(prefix="vm-harness-") as folder, tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": os.defpath},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent(),
        )
        try:
            bound(process.pid, memory=_MEMORY_LIMIT, file_size=_OUTPUT_LIMIT)
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise NoExpectation(f"no .exp file, and CPython does not end it within {timeout:g} s") from None
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        printed = normal(output.read(_OUTPUT_LIMIT))
    if status:
        last = printed.rstrip().rsplit(b"\n", 1)[-1][:120].decode("utf-8", "backslashreplace")
        raise NoExpectation(f"no .exp file, and CPython fails: {last or f'exit status {status}'}")
    return printed


def normal(output: bytes) -> bytes:
    """``output`` with the line ends of a file: a board's terminal layer sends CR LF, for a CR LF even CR CR LF."""
    return output.replace(b"\r\r\n", b"\n").replace(b"\r\n", b"\n")


def first_difference(expected: bytes, came: bytes) -> Difference | None:
    """None when ``came`` is as expected. Both with LF line ends."""
    if expected == came:
        return None
    wanted, lines = expected.split(b"\n"), came.split(b"\n")
    if WILDCARD in wanted:
        return _with_wildcards(wanted, lines)
    return _difference(wanted, lines, 0, patterns=False)


def _with_wildcards(wanted: list[bytes], lines: list[bytes]) -> Difference | None:
    parts: list[list[bytes]] = [[]]
    for line in wanted:
        if line == WILDCARD:
            parts.append([])
        else:
            parts[-1].append(line)
    # What stands before the first wildcard and after the last one has its place; a part between two wildcards is
    # taken where it comes first, which leaves the most to those that follow.
    first, *middle, last = parts
    at, end = len(first), len(lines) - len(last)
    difference = _difference(first, lines[:at], 0, patterns=True)
    if difference is not None:
        return difference
    for part in filter(None, middle):
        place = next(
            (n for n in range(at, len(lines) - len(part) + 1) if _matches(part, lines[n : n + len(part)])), None
        )
        if place is None:
            return Difference(at + 1, part[0], lines[at] if at < len(lines) else None)
        at = place + len(part)
    end = max(at, end)
    return _difference(last, lines[end:], end, patterns=True)


def _difference(wanted: list[bytes], lines: list[bytes], before: int, *, patterns: bool) -> Difference | None:
    """``lines`` follow on ``before`` others."""
    for n, (expected, came) in enumerate(zip_longest(wanted, lines)):
        if expected is None or came is None or not _same(expected, came, patterns):
            return Difference(before + n + 1, expected, came)
    return None


def _matches(part: Sequence[bytes], lines: Sequence[bytes]) -> bool:
    return len(part) == len(lines) and all(_same(one, other, True) for one, other in zip(part, lines, strict=True))


def _same(expected: bytes, came: bytes, patterns: bool) -> bool:
    if expected == came:
        return True
    if not patterns or b"\\" not in expected or len(came) > _PATTERN_LINE:
        return False
    try:
        return re.fullmatch(_pattern(expected), came) is not None
    except re.error:
        return False


def _pattern(line: bytes) -> bytes:
    pieces = re.split(rb"\\(.)", line)
    return b"".join(piece if n % 2 else _LITERAL.sub(rb"\\\g<0>", piece) for n, piece in enumerate(pieces))
