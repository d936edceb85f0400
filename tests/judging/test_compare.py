"""The rules by which a board is held against the reference."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import BenchFault, UsageError
from harness.inventory.model import Limit as BoardLimit
from harness.judging.calibration import Calibration
from harness.judging.compare import Judge, Measurement
from harness.judging.limits import Limit, at_most
from harness.judging.outcome import Outcome
from harness.judging.rules import heap_rule
from harness.kinds import Value
from harness.runtimes.interface import Facts
from harness.runtimes.records import Decoded, Observation

PASS, MARGINAL, FAIL = Outcome.PASS, Outcome.MARGINAL, Outcome.FAIL
REFERENCE = Facts("micropython", "3.4.0; MicroPython v1.27.0 on 2026-01-01", "host", 4, "A", 56000, 774)
TWIN = replace(REFERENCE, version="3.4.0; MicroPython v1.27.3 on 2026-05-05")
ESP8266 = replace(REFERENCE, machine="ESP module with ESP8266", object_repr="C")
OLDER = replace(REFERENCE, version="3.4.0; MicroPython v1.24.1 on 2024-11-29")
OTHER_BUILD = replace(REFERENCE, machine="ESP32 module")
WIDE = replace(REFERENCE, word_size=8)
LINE = Calibration(2.0, 0.01, ())


def heap(value: int, name: str = "x.allocated", kind: str = "heap") -> Observation:
    return Observation(name, kind, "B", (value,))


def decoded(*observations: Observation) -> Decoded:
    return Decoded(observations, b"")


def judged(judge: Judge, board: Observation, reference: Observation) -> Measurement:
    (found,) = judge.pair(decoded(board), decoded(reference), LINE)
    return found


@pytest.mark.parametrize(
    ("board", "passes", "fails", "words"),
    [
        (TWIN, [1000], [1016, 984, 1001], "equal to the byte"),
        (OTHER_BUILD, [1000, 1032, 968], [1048, 952], "names in ROM"),
        (ESP8266, [1000, 1096], [1112], "representation C against A (floats cost differently)"),
        (OLDER, [1000, 904], [888], "MicroPython 1.24 against 1.27"),
        (WIDE, [500, 1000, 1616, 2000], [], "words of 8 and 4 bytes: for orientation only"),
    ],
)
def test_heap_rules(board: Facts, passes: list[int], fails: list[int], words: str) -> None:
    judge = Judge(board, REFERENCE, {})
    for value in passes:
        found = judged(judge, heap(value), heap(1000))
        assert found.verdict is PASS, value
        assert words in found.rule
    for value in fails:
        found = judged(judge, heap(value), heap(1000))
        assert found.verdict is FAIL, value
        assert words in found.rule
        assert (found.measured, found.reference) == (value, 1000)


def test_reasons_add_up() -> None:
    both = heap_rule(replace(ESP8266, version=OLDER.version), REFERENCE)
    assert "representation" in both.words
    assert "1.24" in both.words
    assert not both.exact


def test_what_survives_a_collection_by_chance_is_allowed_for_except_between_twins() -> None:
    def verdict(board: Facts, value: int, kind: str, name: str = "x") -> Outcome:
        return judged(Judge(board, REFERENCE, {}), heap(value, name, kind), heap(1000, name, kind)).verdict

    stale = 1000 + 7 * 16 + 32
    assert verdict(OTHER_BUILD, stale, "heap_kept") is PASS
    assert verdict(OTHER_BUILD, stale + 16, "heap_kept") is FAIL
    assert verdict(OTHER_BUILD, stale, "heap", "x.allocated") is FAIL
    assert verdict(OTHER_BUILD, stale, "heap", "x.kept") is FAIL  # a name decides nothing
    assert verdict(TWIN, 1016, "heap_kept") is FAIL


def test_states_and_counts_are_equal_or_fail() -> None:
    judge = Judge(ESP8266, REFERENCE, {})
    board = decoded(Observation("n", "count", "1", (3,)), Observation("s", "state", "-", text="ok"))
    other = decoded(Observation("n", "count", "1", (4,)), Observation("s", "state", "-", text="ok"))
    assert [m.verdict for m in judge.pair(board, board, None)] == [PASS, PASS]
    count, state = judge.pair(board, other, None, prefix="after.")
    assert (count.name, count.limit, count.verdict) == ("after.n", "exactly 4", FAIL)
    assert (state.limit, state.verdict) == ("exactly ok", PASS)


@pytest.mark.parametrize(
    ("measured", "verdict"), [(200, PASS), (250, PASS), (251, MARGINAL), (100, MARGINAL), (301, FAIL)]
)
def test_a_time_is_held_against_its_prediction(measured: int, verdict: Outcome) -> None:
    judge = Judge(TWIN, REFERENCE, {})
    board = decoded(Observation("t", "time", "us", (measured - 1, measured, measured + 9)))
    (found,) = judge.pair(board, decoded(Observation("t", "time", "us", (100,))), LINE)
    assert (found.measured, found.reference, found.verdict) == (measured, 200.0, verdict)
    assert found.limit == "within 25 % of 200 µs, marginal to 50 %"
    assert found.samples == (measured - 1, measured, measured + 9)


@pytest.mark.parametrize("measured", [1, 200, 100_000])
def test_a_time_on_another_word_size_is_for_orientation(measured: int) -> None:
    board = decoded(Observation("t", "time", "us", (measured,)))
    (found,) = Judge(WIDE, REFERENCE, {}).pair(board, decoded(Observation("t", "time", "us", (100,))), LINE)
    assert (found.verdict, found.reference) == (PASS, 200.0)
    assert found.limit == "words of 8 and 4 bytes: for orientation only"


@pytest.mark.parametrize(("release", "verdict"), [("1.9.2", MARGINAL), ("1.18.0", MARGINAL), ("1.19.1", FAIL)])
def test_a_time_of_a_vm_many_releases_apart_is_no_failure(release: str, verdict: Outcome) -> None:
    old = replace(REFERENCE, version=f"3.4.0; MicroPython v{release} on 2017-09-01")
    board = decoded(Observation("t", "time", "us", (900,)))
    (found,) = Judge(old, REFERENCE, {}).pair(board, decoded(Observation("t", "time", "us", (100,))), LINE)
    assert found.verdict is verdict
    assert ("told, and no failure" in found.rule) == (verdict is MARGINAL)


def test_a_time_is_predicted_from_weighed_work_where_there_is_any() -> None:
    line = Calibration(2.0, 0.01, (), "thumb-m3", 5.0, 0.02)
    board, plain, weighed = (decoded(Observation("t", "time", "us", (took,))) for took in (600, 100, 300))
    judge = Judge(TWIN, REFERENCE, {})
    (by_kind,) = judge.pair(board, plain, line, weighed=weighed)
    (by_cost,) = judge.pair(board, plain, line)
    assert (by_kind.reference, by_cost.reference) == (600.0, 500.0)


def test_a_loose_time_is_held_on_one_side_and_says_why() -> None:
    judge = Judge(TWIN, REFERENCE, {})
    for measured, verdict in ((1, PASS), (1000, PASS), (1001, FAIL)):
        board = decoded(Observation("t", "time", "us", (measured,)))
        reference = decoded(Observation("t", "time", "us", (100,)))
        (found,) = judge.pair(board, reference, LINE, loose_times={"t": "files are read"})
        assert found.verdict is verdict
        assert "files are read" in found.limit


def test_a_time_without_a_calibration_is_no_figure() -> None:
    one = decoded(Observation("t", "time", "us", (1,)))
    with pytest.raises(BenchFault, match="no calibration to predict 't'"):
        Judge(TWIN, REFERENCE, {}).pair(one, one, None)


@pytest.mark.parametrize(
    ("board", "reference", "said"),
    [
        ([heap(1, "a"), heap(2, "b")], [heap(1, "a")], "b (heap, B) only by the board"),
        ([heap(1, "a")], [heap(1, "a"), heap(2, "b")], "b (heap, B) only by the reference"),
        ([heap(1, "a")], [Observation("a", "state", "-", text="1")], "a (state, -) only by the reference"),
        ([heap(1, "a"), heap(2, "b")], [heap(2, "b"), heap(1, "a")], "their order differs"),
    ],
)
def test_what_one_side_alone_reported_is_an_error(
    board: list[Observation], reference: list[Observation], said: str
) -> None:
    with pytest.raises(BenchFault) as caught:
        Judge(TWIN, REFERENCE, {}).pair(decoded(*board), decoded(*reference), LINE)
    assert said in caught.value.message


def test_the_boards_own_limit_takes_the_place_of_the_rule() -> None:
    limits = {"*.allocated": BoardLimit.model_validate({"max": 2000, "why": "WiFi"})}
    found = judged(Judge(TWIN, REFERENCE, limits), heap(1500), heap(1000))
    assert (found.verdict, found.limit) == (PASS, "at most 2000 B, by boards.yaml (WiFi)")


def test_one_build_of_two_names_is_held_to_the_byte() -> None:
    named = replace(TWIN, machine="Generic ESP32 module with ESP32")
    assert not heap_rule(named, REFERENCE).exact
    assert heap_rule(named, REFERENCE, same_build=True).exact
    assert judged(Judge(named, REFERENCE, {}, same_build=True), heap(1016), heap(1000)).verdict is FAIL
    assert not heap_rule(replace(named, version="v1.24.0"), REFERENCE, same_build=True).exact


def test_what_a_document_says_is_asked_and_the_reference_only_shown() -> None:
    """Board and reference that are wrong alike: the comparison passes, what is asked does not."""
    both = decoded(Observation("error", "state", "-", text="none"), heap(512, "x.taken"))
    judge = Judge(TWIN, REFERENCE, {})
    assert [found.verdict for found in judge.pair(both, both, None)] == [PASS, PASS]
    asked: dict[str, Value | Limit] = {"error": "queue full", "x.taken": at_most(256, "B")}
    error, taken = judge.pair(both, both, None, asked=asked, source="the port's page", prefix="q.")
    assert (error.verdict, error.reference, error.limit) == (FAIL, "none", "exactly queue full: the port's page")
    assert (taken.verdict, taken.name, taken.rule) == (FAIL, "q.x.taken", "the port's page")
    assert taken.limit == "at most 256 B: the port's page"
    assert taken.bounds == at_most(256, "B").bounds


def test_a_figure_that_is_asked_for_is_reported_and_its_source_named() -> None:
    both = decoded(heap(512, "x.taken"))
    with pytest.raises(UsageError, match="did not report 'error'"):
        Judge(TWIN, REFERENCE, {}).pair(both, both, None, asked={"error": "none"}, source="somebody")
    with pytest.raises(UsageError, match="without saying who"):
        Judge(TWIN, REFERENCE, {}).pair(both, both, None, asked={"x.taken": 512})


@pytest.mark.parametrize("wrong", ["512", None, True, float("nan")])
def test_what_is_asked_is_of_the_figures_kind(wrong: Value) -> None:
    """A mistake of the suite, not a failure of the firmware."""
    both = decoded(Observation("error", "state", "-", text="none"), heap(512, "x.taken"))
    with pytest.raises(UsageError, match="what is asked of figure 'x.taken' is .*; heap is a number"):
        Judge(TWIN, REFERENCE, {}).pair(both, both, None, asked={"x.taken": wrong}, source="a page")
    with pytest.raises(UsageError, match="what is asked of figure 'error' is 3 .*; state is a text"):
        Judge(TWIN, REFERENCE, {}).pair(both, both, None, asked={"error": 3}, source="a page")


def test_what_is_asked_for_is_looked_at() -> None:
    both = decoded(Observation("error", "state", "-", text="none"), heap(512, "x.taken"))
    with pytest.raises(UsageError, match="'x.taken' is asked for and not among those compared: error"):
        Judge(TWIN, REFERENCE, {}).pair(both, both, None, only=["error"], asked={"x.taken": 1}, source="a page")


def test_the_boards_own_limit_goes_before_what_is_asked() -> None:
    own = {"x.taken": BoardLimit(max=600, why="another allocator")}
    (found,) = Judge(TWIN, REFERENCE, own).pair(
        decoded(heap(512, "x.taken")), decoded(heap(512, "x.taken")), None, asked={"x.taken": 256}, source="a page"
    )
    assert found.verdict is PASS
