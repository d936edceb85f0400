"""The records that the board-side agent prints, and what becomes of them.

One record a line: ``\\x02 SEQ|KIND|NAME|UNIT|VALUES|CRC \\x03``; CRC is CRC-32 over everything before its bar, or
Adler-32 behind an ``a`` from a language that has no bit operations (Lua 5.1). SEQ counts from a number that is drawn
for each run of a program (:func:`drawn_number`), so that what an application prints of an earlier run is no figure of
this one; a program that prints its records itself, without the agent, may count from 0. KIND is the name of a kind of
measurement (:mod:`harness.kinds`); VALUES are whole numbers, or for a text its UTF-8 with ``%XX``.
Other output may stand between records, but neither of the two mark bytes. A lost or damaged record is a
BenchFault and never a figure.
"""

from __future__ import annotations

import re
import secrets
import statistics
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from urllib.parse import unquote_to_bytes

from harness.errors import BenchFault, UsageError
from harness.kinds import Kind, named

_MAX_RECORDS = 10_000
_MAX_VALUES = 4_096
_MAX_RECORD_BYTES = 64 * 1024
_MAX_TEXT = 4_096
#: So many names of figures are named in a message.
_SHOWN = 8
_START, _END = b"\x02", b"\x03"
_BODY = re.compile(
    rb"(\d{1,9})\|([a-z][a-z0-9_]{0,19})\|([A-Za-z0-9_.:-]{1,80})\|([A-Za-z0-9%/_-]{1,16})\|([!-{}~]*)\|(a?[0-9a-f]{8})"
)


#: Each has nine digits and is a small int of any VM that takes as many bytes of bytecode (py/emitbc.c: seven bits a
#: byte), so that which of them stands in a program is in no figure. The last record of a run has nine digits, too.
DRAWN_NUMBERS = range(300_000_000, 1_000_000_000 - _MAX_RECORDS)


def drawn_number(below: Callable[[int], int] = secrets.randbelow) -> int:
    """What the records of one run of a program are counted from: one of :data:`DRAWN_NUMBERS`."""
    return DRAWN_NUMBERS[below(len(DRAWN_NUMBERS))]


class DamagedRecords(BenchFault):
    """What the agent printed did not arrive whole; running the program again may help.

    The message names the record (from 0) that is wrong and shows what came, without control characters.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="check the cable, the ground and the baud rate")


class MissingEnd(DamagedRecords):
    """What came is whole, and the record at its end did not come."""


class WrongRecords(BenchFault):
    """What arrived whole is nothing that a program may report: two figures of one name, no whole number."""


@dataclass(frozen=True)
class Observation:
    """One figure: ``samples`` (in ``unit``) of a kind that is a number, ``text`` of one that is not."""

    name: str
    kind: str
    unit: str
    samples: tuple[int, ...] = ()
    text: str = ""

    @property
    def value(self) -> float | int | str:
        """The median of the samples, or the text."""
        if not self.samples:
            return self.text
        middle = statistics.median(self.samples)
        return int(middle) if float(middle).is_integer() else middle


@dataclass(frozen=True)
class Decoded:
    """``observations`` in order; ``other`` is the output that belongs to no record."""

    observations: tuple[Observation, ...]
    other: bytes

    def __contains__(self, name: str) -> bool:
        return any(observation.name == name for observation in self.observations)

    def __getitem__(self, name: str) -> Observation:
        """Raises UsageError with the nearest name when the program did not report ``name``: all that it did is here."""
        for observation in self.observations:
            if observation.name == name:
                return observation
        names = [observation.name for observation in self.observations]
        near = get_close_matches(str(name), names, n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
        raise UsageError(f"the program did not report {name!r}", hint=f"{meant}it reported: {shown or 'nothing'}")

    def value(self, name: str) -> float:
        """The number ``name``. Raises UsageError for a text, and when there is none of that name."""
        value = self[name].value
        if isinstance(value, str):
            raise UsageError(f"{name!r} is a {self[name].kind}, expected a number", hint=f"take it with text({name!r})")
        return value

    def text(self, name: str) -> str:
        """The text ``name``. Raises UsageError for a number, and when there is none of that name."""
        value = self[name].value
        if not isinstance(value, str):
            raise UsageError(f"{name!r} is a {self[name].kind}, expected a text", hint=f"take it with value({name!r})")
        return value


def decode(stdout: bytes, first: int = 0) -> Decoded:
    """Take the records out of ``stdout`` that are counted from ``first``; whole ones of another run are other output.

    Raises DamagedRecords for a record that is lost, doubled, out of order or damaged, for a missing end and
    for a wrong count; WrongRecords for a program that reports one name twice or no whole numbers; UsageError for one
    that reports a kind of measurement that there is not.
    """
    observations: list[Observation] = []
    names: set[str] = set()
    other = bytearray()
    ended = False
    for index, part in enumerate(stdout.split(_START)):
        if index == 0:
            if _END in part:
                raise DamagedRecords(f"record 0 has lost its start: {_plain(part)}")
            other += part
            continue
        body, mark, rest = part.partition(_END)
        expected = len(observations)
        match = _BODY.fullmatch(body) if mark and len(body) <= _MAX_RECORD_BYTES else None
        if match is None:
            raise DamagedRecords(f"record {expected} arrived damaged: {_plain(part)}")
        sequence, kind, name, unit, values, check = match.groups()
        text = body[: -len(check) - 1]
        expected_check = zlib.adler32(text) if check.startswith(b"a") and len(check) == 9 else zlib.crc32(text)
        if int(check[-8:], 16) != expected_check:
            raise DamagedRecords(f"record {expected} arrived damaged, its checksum is wrong: {_plain(body)}")
        if _END in rest:
            raise DamagedRecords(f"record {expected + 1} has lost its start: {_plain(rest)}")
        rest = rest[2:] if rest[:2] == b"\r\n" else rest[1:] if rest[:1] == b"\n" else rest
        number = int(sequence) - first
        if not 0 <= number <= _MAX_RECORDS:
            other += b"(a record of another run)" + rest
            continue
        other += rest
        if ended:
            raise DamagedRecords(f"record {number} came after the end record")
        if number != expected:
            raise DamagedRecords(f"expected record {expected}, came record {number}")
        if kind == b"end":
            if values != b"%d" % number:
                raise DamagedRecords(f"{expected} records came, the end record counts {_plain(values)}")
            ended = True
            continue
        if expected >= _MAX_RECORDS:
            raise WrongRecords(f"the program reports more than {_MAX_RECORDS} figures", hint="report samples of one")
        observation = _observation(name.decode(), kind.decode(), unit.decode(), values, expected)
        if observation.name in names:
            raise WrongRecords(f"the program reported {observation.name!r} twice", hint="give each figure its own name")
        names.add(observation.name)
        observations.append(observation)
    if not ended:
        raise MissingEnd(f"the end record is missing after {len(observations)} records")
    return Decoded(tuple(observations), bytes(other))


def _kind(name: str, figure: str) -> Kind:
    try:
        return named(name)
    except UsageError as problem:
        raise UsageError(f"the program reports {figure!r} so: {problem.message}", hint=problem.hint) from None


def _observation(name: str, kind: str, unit: str, values: bytes, index: int) -> Observation:
    if not _kind(kind, name).numeric:
        text = unquote_to_bytes(values)
        if len(text) > _MAX_TEXT:  # not cut: two long texts with one beginning are not the same state
            raise WrongRecords(f"{kind} {name!r} has {len(text)} bytes, expected at most {_MAX_TEXT}")
        return Observation(name, kind, unit, text=text.decode("utf-8", "backslashreplace"))
    numbers = values.split(b",")
    if len(numbers) > _MAX_VALUES or not all(re.fullmatch(rb"-?\d{1,18}", n) for n in numbers):
        raise WrongRecords(
            f"record {index} ({name}) holds {_plain(values)}, expected 1 to {_MAX_VALUES} whole numbers",
            hint="the agent sends whole numbers only",
        )
    return Observation(name, kind, unit, tuple(int(n) for n in numbers))


def _plain(data: bytes) -> str:
    """``data`` for a message: quoted, bounded, without control characters."""
    return repr(data[:80])[1:] + ("…" if len(data) > 80 else "")
