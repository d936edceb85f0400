"""Records: what the agent sends arrives whole or is an error, never a wrong figure."""

from __future__ import annotations

import re
import string
import zlib

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from harness.errors import BenchFault, UsageError
from harness.kinds import BUILT_IN
from harness.reference.vm import ReferenceVm
from harness.runtimes.interface import RunResult
from harness.runtimes.program import Program, agent_source
from harness.runtimes.records import DamagedRecords, Observation, WrongRecords, decode, drawn_number

OUTPUT = st.binary(max_size=30).map(lambda data: data.replace(b"\x02", b"").replace(b"\x03", b""))
NAMES = st.text(string.ascii_letters + string.digits + "_.:-", min_size=1, max_size=12)
FIGURES = st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=5).map(tuple)


def record(sequence: int, kind: str, name: str, unit: str, values: str) -> bytes:
    body = f"{sequence}|{kind}|{name}|{unit}|{values}".encode()
    return b"\x02%s|%08x\x03\r\n" % (body, zlib.crc32(body))


def percent(text: str) -> str:
    plain = (string.ascii_letters + string.digits + "_.:+-").encode()
    return "".join(chr(b) if b in plain else f"%{b:02X}" for b in text.encode())


def stream(observations: list[Observation], first: int = 0) -> list[bytes]:
    lines = []
    for index, one in enumerate(observations):
        values = percent(one.text) if one.kind == "state" else ",".join(map(str, one.samples))
        lines.append(record(first + index, one.kind, one.name, one.unit, values))
    return [*lines, record(first + len(lines), "end", "-", "-", str(len(lines)))]


@st.composite
def observation_lists(draw: st.DrawFn) -> list[Observation]:
    made = []
    for name in draw(st.lists(NAMES, max_size=5, unique=True)):
        if draw(st.booleans()):
            made.append(Observation(name, "state", "-", text=draw(st.text(st.characters(codec="utf-8"), max_size=20))))
        else:
            kind = draw(st.sampled_from(["heap", "time", "count"]))
            made.append(Observation(name, kind, draw(st.sampled_from(["B", "us", "1"])), draw(FIGURES)))
    return made


SOME = [
    Observation("a.kept", "heap", "B", (48, 64, 48)),
    Observation("b", "time", "us", (131,)),
    Observation("result", "state", "-", text="ok | \x1b[31m 100 %"),
]


@given(observation_lists(), st.data())
def test_everything_sent_comes_back_and_other_output_is_kept(made: list[Observation], data: st.DataObject) -> None:
    lines = stream(made)
    between = [data.draw(OUTPUT) for _ in range(len(lines) + 1)]
    text = between[0] + b"".join(line + other for line, other in zip(lines, between[1:], strict=True))
    decoded = decode(text)
    assert decoded.observations == tuple(made)
    assert decoded.other == b"".join(between)


@given(observation_lists(), st.integers(min_value=0, max_value=10**9 - 1), st.data())
def test_records_of_another_run_are_no_figures_of_this_one(
    made: list[Observation], old: int, data: st.DataObject
) -> None:
    first = drawn_number()
    assume(abs(old - first) > 20_000)
    lines = stream(made, first)
    for line in stream([Observation("replayed", "count", "1", (1,)), *SOME], old):
        lines.insert(data.draw(st.integers(0, len(lines))), line)
    assert decode(b"".join(lines), first).observations == tuple(made)


OLD = record(0, "heap", "used", "B", "1") + record(1, "end", "-", "-", "1")
REPLAYING = Program("replayed", f"print({OLD.decode()!r})\nagent.heap('used', lambda: [0] * 10)\nagent.done()\n")


@pytest.mark.parametrize("program", [REPLAYING, Program.load("heap_after_start")], ids=lambda program: program.name)
def test_an_old_record_that_is_printed_again_is_not_taken_for_the_program_s(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = b""
    run = ReferenceVm.run

    def heard(vm: ReferenceVm, source: str, *, timeout: float = 30.0, interrupt_at: bytes = b"") -> RunResult:
        nonlocal said
        result = run(vm, source, timeout=timeout, interrupt_at=interrupt_at)
        said += result.stdout
        return result

    monkeypatch.setattr(ReferenceVm, "run", heard)
    values = []
    for _ in range(2):
        with ReferenceVm() as vm:
            values.append(program.run(vm).value("used"))
    assert values[0] == values[1] != 1
    assert len(set(re.findall(rb"\x02(\d{9})\|heap\|used", said))) == 2


def test_drawn_numbers_take_as_many_bytes_each() -> None:
    least, most = drawn_number(lambda below: 0), drawn_number(lambda below: below - 1)
    assert len(str(least)) == len(str(most)) == 9
    assert len(str(most + 10_000)) == 9  # the end record of as many figures as a run may have
    assert 1 << 27 < least < most < 1 << 30  # signed, seven bits a byte; a small int of 31 bits


@given(st.data(), st.sampled_from(["change", "lose", "insert"]))
def test_any_damaged_byte_of_a_record_is_seen(data: st.DataObject, damage: str) -> None:
    lines = stream(SOME)
    index = data.draw(st.integers(0, len(lines) - 1))
    line = lines[index]
    length = line.index(b"\x03") + 1
    at = data.draw(st.integers(1 if damage == "insert" else 0, length - 1))
    byte = bytes([data.draw(st.integers(0, 255).filter(lambda b: damage != "change" or b != line[at]))])
    lines[index] = line[:at] + (b"" if damage == "lose" else byte) + line[at + (damage != "insert") :]
    with pytest.raises(DamagedRecords) as caught:
        decode(b"hello\r\n" + b"".join(lines))
    assert re.search(rf"\b{index}\b", caught.value.message), caught.value.message
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("index", range(4))
def test_a_lost_line_is_named(index: int) -> None:
    lines = stream(SOME)
    del lines[index]
    expected = rf"expected record {index}, came record {index + 1}|the end record is missing after 3 records"
    with pytest.raises(DamagedRecords, match=expected):
        decode(b"".join(lines))


def test_doubled_and_swapped_lines() -> None:
    one, two, three, end = stream(SOME)
    with pytest.raises(DamagedRecords, match="expected record 1, came record 0"):
        decode(one + one + two + three + end)
    with pytest.raises(DamagedRecords, match="expected record 1, came record 2"):
        decode(one + three + two + end)
    with pytest.raises(DamagedRecords, match="record 3 came after the end record"):
        decode(one + two + three + end + end)


def test_an_end_mark_without_its_start_is_damage() -> None:
    one, two, three, end = stream(SOME)
    for text, index in (
        (one + b"\x03" + two + three + end, 1),
        (b"\x03" + one, 0),
        (one + two + three + end + b"\x03", 4),
    ):
        with pytest.raises(DamagedRecords, match=f"record {index} has lost its start"):
            decode(text)


def test_a_wrong_count_and_an_empty_answer() -> None:
    with pytest.raises(DamagedRecords, match="1 records came, the end record counts '7'"):
        decode(record(0, "count", "n", "1", "4") + record(1, "end", "-", "-", "7"))
    with pytest.raises(DamagedRecords, match="end record is missing after 0 records"):
        decode(b"")


@pytest.mark.parametrize("values", ["", "1,,2", "1.5", "0x10", "1e9", "1,", "9" * 19, "nan"])
def test_what_is_no_whole_number_is_no_figure(values: str) -> None:
    with pytest.raises(BenchFault, match=r"record 0 \(n\) holds .*whole numbers"):
        decode(record(0, "count", "n", "1", values) + record(1, "end", "-", "-", "1"))


def test_bounds() -> None:
    with pytest.raises(DamagedRecords, match="record 0 arrived damaged"):
        decode(record(0, "state", "s", "-", "x" * 70_000) + record(1, "end", "-", "-", "1"))
    with pytest.raises(BenchFault, match="5000 bytes, expected at most 4096"):
        decode(record(0, "state", "s", "-", "x" * 5_000) + record(1, "end", "-", "-", "1"))
    many = b"".join(record(i, "count", f"n{i}", "1", "1") for i in range(10_000))
    assert len(decode(many + record(10_000, "end", "-", "-", "10000")).observations) == 10_000
    with pytest.raises(BenchFault, match="more than 10000"):
        decode(many + record(10_000, "count", "last", "1", "1") + record(10_001, "end", "-", "-", "10001"))


def test_one_name_twice_is_a_fault_of_the_program_and_not_of_the_wire() -> None:
    twice = record(0, "count", "n", "1", "1") + record(1, "count", "n", "1", "2") + record(2, "end", "-", "-", "2")
    with pytest.raises(BenchFault, match="reported 'n' twice") as caught:
        decode(twice)
    assert isinstance(caught.value, WrongRecords)


@given(st.binary(max_size=200))
@example(b"\x02\x03" * 50)
def test_garbage_never_gives_a_figure(garbage: bytes) -> None:
    with pytest.raises(DamagedRecords):
        decode(garbage)


def test_values_and_look_up() -> None:
    decoded = decode(b"".join(stream(SOME)))
    assert decoded.value("a.kept") == 48
    assert isinstance(decoded.value("a.kept"), int)
    assert decoded.text("result") == SOME[2].text
    with pytest.raises(UsageError, match="'result' is a state, expected a number") as caught:
        decoded.value("result")
    assert "text('result')" in caught.value.hint
    with pytest.raises(UsageError, match="'b' is a time, expected a text") as caught:
        decoded.text("b")
    assert "value('b')" in caught.value.hint
    with pytest.raises(UsageError, match="did not report 'resutl'") as caught:
        decoded["resutl"]
    assert caught.value.hint == "did you mean 'result'? it reported: a.kept, b, result"
    assert Observation("t", "time", "us", (3, 4)).value == 3.5


def test_the_agent_speaks_this_format() -> None:
    """The real agent on the reference VM, through the real decoder."""
    assert "record" in agent_source()
    program = Program(
        "probe",
        "print('noise')\nagent.heap('list', lambda: [0] * INPUT['n'])\nagent.state('s', 'a|b %\\x1b\\n')\n"
        "agent.time('t', lambda: None, 3)\nagent.count('c', -4)\nagent.done()\n",
        {"n": 10},
    )
    with ReferenceVm() as vm:
        decoded = program.run(vm)
    assert [o.name for o in decoded.observations] == ["list", "s", "t", "c"]
    # The list of one: 16 bytes of object, 4 words of items. The product: 16, and ten words in blocks of 16.
    assert decoded.value("list") == 16 + 16 + 16 + 48
    assert decoded.text("s") == "a|b %\x1b\n"
    assert len(decoded["t"].samples) == 3
    assert decoded.value("c") == -4
    assert decoded.other.strip() == b"noise"


def test_an_unknown_kind_is_refused_and_is_no_damage() -> None:
    with pytest.raises(
        UsageError, match="the program reports 'x' so: there is no kind of measurement 'haep'"
    ) as caught:
        decode(record(0, "haep", "x", "B", "1") + record(1, "end", "-", "-", "1"))
    assert "did you mean 'heap'?" in caught.value.hint
    damaged = record(0, "haep", "x", "B", "1").replace(b"haep", b"hexp")
    with pytest.raises(DamagedRecords, match="its checksum is wrong"):
        decode(damaged + record(1, "end", "-", "-", "1"))


@pytest.mark.parametrize("kind", sorted(BUILT_IN))
def test_every_kind_arrives(kind: str) -> None:
    (found,) = decode(record(0, kind, "x", "-", "12") + record(1, "end", "-", "-", "1")).observations
    assert (found.kind, found.value) == (kind, 12 if BUILT_IN[kind].numeric else "12")


def test_the_agent_says_how_heap_was_taken() -> None:
    source = "agent.kept('k', lambda: None, lambda: None)\nagent.bytes('f', 8, 'heap_free')\nagent.bytes('b', 8)\n"
    with ReferenceVm() as vm:
        found = Program("probe", source + "agent.done()\n").run(vm)
    assert [o.kind for o in found.observations] == ["heap_kept", "heap_free", "heap"]
