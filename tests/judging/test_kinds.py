"""The table of kinds: each row is of use, a wrong name is told with the nearest one, and packages add rows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import extensions, kinds
from harness.errors import UsageError
from harness.judging.limits import Limit, at_least, at_most, between, exactly, within_percent
from harness.judging.outcome import Outcome
from harness.kinds import BUILT_IN, COUNT, HEAP, HEAP_FREE, STATE, TIME, named, stored
from tests.judging.added_kind import install

ROOT = Path(__file__).parents[2]


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    for cache in (extensions._in, kinds._added):
        cache.cache_clear()
    yield tmp_path
    for cache in (extensions._in, kinds._added):
        cache.cache_clear()
    for module in ("bench_energy", "other_energy"):
        sys.modules.pop(module, None)


def test_the_kinds_of_old_stores_have_their_rows() -> None:
    assert {"heap", "time", "count", "state"} <= BUILT_IN.keys()
    assert all(name == kind.name and kind.words for name, kind in BUILT_IN.items())
    assert all(kind.continues in ("", *BUILT_IN) for kind in BUILT_IN.values())


def test_the_documentation_has_each_kind_with_its_units() -> None:
    text = (ROOT / "docs" / "comparison.md").read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    for kind in BUILT_IN.values():
        (row,) = [line for line in rows if line.startswith(f"| `{kind.name}` |")]
        assert all(f"`{unit}`" in row for unit in kind.units), row


@pytest.mark.parametrize(("wrong", "near"), [("haep", "heap"), ("heap_keep", "heap_kept"), ("times", "time")])
def test_an_unknown_kind_is_told_with_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"no kind of measurement {wrong!r}") as caught:
        named(wrong)
    assert f"did you mean {near!r}?" in caught.value.hint


def test_a_stored_figure_of_a_package_that_is_gone_is_shown_as_it_is() -> None:
    kind = stored("luminosity")
    assert kind.written(12.5, "lx") == "12.5 lx" and kind.history is None


@given(st.text(max_size=30))
def test_any_name_in_a_store_can_be_shown(name: str) -> None:
    assert stored(name).written(1, "-") == "1"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "end"}, "no name for a kind"),
        ({"name": "Energy"}, "no name for a kind"),
        ({"name": "a|b"}, "no name for a kind"),
        ({"units": ()}, "has no unit"),
        ({"digits": 0}, "1 to 15 digits"),
        ({"numeric": False, "decides": False}, "cannot be marginal"),
    ],
)
def test_a_row_that_makes_no_sense_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(HEAP, **change)  # type: ignore[arg-type]


def test_what_is_worse() -> None:
    assert HEAP.worse(48, 64) is True and HEAP.worse(64, 48) is False
    assert HEAP_FREE.worse(48, 64) is False
    assert HEAP.worse(48, 48) is None and COUNT.worse(1, 2) is None and STATE.worse("a", "b") is None


def test_digits_are_those_of_the_kind() -> None:
    assert TIME.written(12.3456, "us") == "12.35 µs"
    assert replace(TIME, digits=2).written(12.3456, "us") == "12 µs"
    assert COUNT.written(3, "1") == "3"


_LIMITS = st.one_of(
    st.builds(at_most, st.integers(-50, 50), margin=st.integers(0, 20)),
    st.builds(at_least, st.integers(-50, 50), margin=st.integers(0, 20)),
    st.builds(lambda low, reach: between(low, low + reach), st.integers(-50, 50), st.integers(0, 50)),
    st.builds(lambda at: exactly(at), st.integers(-50, 50)),
    st.builds(lambda at, p: within_percent(at, p, marginal_percent=2 * p), st.integers(-50, 50), st.integers(0, 50)),
)


@given(_LIMITS, st.integers(-150, 150))
def test_a_limit_that_does_not_decide_passes_the_same_and_fails_nothing(limit: Limit, value: int) -> None:
    hard, soft = limit.judge(value), limit.told_only().judge(value)
    assert (soft is Outcome.PASS) == (hard is Outcome.PASS)
    assert soft in (Outcome.PASS, Outcome.MARGINAL)
    assert limit.told_only().bounds.judge(value) is soft


# -- other packages ------------------------------------------------------------------------------


def test_a_package_adds_a_kind(packages: Path) -> None:
    install(packages, "energy = bench_energy:ENERGY")
    kind = named("energy")
    assert kind.units == ("uJ", "mJ") and not kind.decides and named("energy") is kind
    assert list(kinds.every()) == [*BUILT_IN, "energy"]
    with pytest.raises(UsageError) as caught:
        named("enrgy")
    assert "did you mean 'energy'?" in caught.value.hint


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ("energy = bench_energy:NOTHING", "harness.kinds: 'energy' of bench-energy is no Kind"),
        ("power = bench_energy:ENERGY", "harness.kinds: 'power' of bench-energy is the kind 'energy'"),
        ("energy = bench_energy:LACKING", "harness.kinds: 'energy' of bench-energy cannot be used"),
        ("energy = not_there_at_all:X", "harness.kinds: 'energy' of bench-energy cannot be used"),
        (
            "heap = bench_energy:ENERGY",
            "harness.kinds: 'heap' is given by vm-harness and bench-energy",
        ),
    ],
)
def test_what_is_no_kind_is_refused_with_the_package_that_brings_it(packages: Path, points: str, said: str) -> None:
    install(packages, points)
    with pytest.raises(UsageError) as caught:
        named(points.partition(" ")[0] if not points.startswith("heap") else "energy")
    assert said in caught.value.message
    with pytest.raises(UsageError):
        kinds.every()
    assert named("time") is TIME  # ours need no package


def test_two_packages_with_one_kind_are_both_named(packages: Path) -> None:
    install(packages, "energy = bench_energy:ENERGY")
    install(packages, "energy = other_energy:ENERGY", name="other-energy")
    with pytest.raises(UsageError, match="'energy' is given by (bench|other)-energy and (bench|other)-energy"):
        named("energy")


def test_no_package_is_looked_for_while_ours_suffice(tmp_path: Path) -> None:
    install(tmp_path, "energy = bench_energy:ENERGY", source="raise SystemExit('imported')")
    code = "import sys; from harness.kinds import named; named('heap'); print('bench_energy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": f"{tmp_path}:{ROOT}"}, capture_output=True, text=True
    )
    assert (done.stdout.strip(), done.stderr) == ("False", "")
