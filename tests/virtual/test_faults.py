"""The fault layer alone: what it does to bytes, when, and that a seed repeats it."""

import itertools
import random
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.virtual.faults import KINDS, TRAITS, Fault, Faults

TEXT = bytes(range(32, 127)) * 40
DAMAGE = sorted(kind.name for kind in KINDS.values() if kind.many and kind.phase == "line" and kind.name != "delay")


class Board:
    """The chip's side of the layer; keeps what was asked of it."""

    def __init__(self) -> None:
        self.downloading = False
        self.asked: list[tuple[object, ...]] = []
        self.news = threading.Condition()

    def _note(self, *what: object) -> None:
        with self.news:
            self.asked.append(what)
            self.news.notify_all()

    def wait(self, what: str) -> tuple[object, ...]:
        with self.news:
            assert self.news.wait_for(lambda: any(a[0] == what for a in self.asked), 5), self.asked
        return next(a for a in self.asked if a[0] == what)

    def deliver(self, data: bytes) -> None:
        self._note("deliver", data)

    def feed(self, data: bytes) -> None:
        self._note("feed", data)

    def glitch(self, reason: str) -> None:
        self._note("glitch", reason)

    def lose_port(self, seconds: float | None, renamed: bool) -> None:
        self._note("lose", seconds, renamed)

    def decay(self, *, stuck: bool, chance: random.Random) -> None:
        self._note("decay", stuck)


def layer(*faults: Fault) -> tuple[Faults, Board]:
    board = Board()
    return Faults(board, faults), board


@pytest.mark.parametrize("kind", [kind for kind in DAMAGE if kind != "partial-write"])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(1, len(TEXT) - 1), max_size=6))
def test_damage_does_not_depend_on_how_bytes_were_cut(kind: str, seed: int, cuts: list[int]) -> None:
    fault = Fault(kind, rate=0.02, seed=seed)
    whole = layer(fault)[0].to_host(TEXT)
    if kind == "swap":
        cuts = []  # the last byte of a chunk has no neighbour yet
    edges = [0, *sorted(set(cuts)), len(TEXT)]
    pieces = layer(fault)[0]
    assert b"".join(pieces.to_host(TEXT[a:b]) for a, b in itertools.pairwise(edges)) == whole


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_kind_damages_what_passes_and_says_how_often(kind: str) -> None:
    faults, _ = layer(Fault(kind, rate=0.02, seed=3))
    assert faults.to_board(TEXT) != TEXT
    assert faults.happened[kind] > 0


def test_another_seed_strikes_elsewhere() -> None:
    first, second = (layer(Fault("flip", rate=0.02, seed=seed))[0].to_host(TEXT) for seed in (1, 2))
    assert first != second


def test_a_direction_that_was_not_asked_for_is_left_alone() -> None:
    faults, _ = layer(Fault("drop", rate=1.0, direction="to-host"))
    assert faults.to_board(TEXT) == TEXT
    assert faults.to_host(TEXT) == b""


def test_a_count_ends_it() -> None:
    faults, _ = layer(Fault("double", rate=1.0, count=2))
    assert faults.to_host(b"abcd") == b"aabbcd"
    assert faults.to_host(b"abcd") == b"abcd"


def test_after_so_many_bytes_it_begins() -> None:
    assert layer(Fault("drop", rate=1.0, after=3))[0].to_host(b"abcdef") == b"abc"


@given(cuts=st.lists(st.integers(1, 14), max_size=4))
def test_behind_a_text_it_begins_however_that_was_cut(cuts: list[int]) -> None:
    faults, _ = layer(Fault("drop", rate=1.0, behind="abra", after=2, count=2, direction="to-host"))
    text = b"ababracadabra.."
    edges = [0, *sorted(set(cuts)), len(text)]
    came = b"".join(faults.to_host(text[a:b]) for a, b in itertools.pairwise(edges))
    assert came == text[:8] + text[10:]
    assert faults.happened == {"drop": 2}


def test_a_text_that_does_not_pass_is_waited_for_without_end() -> None:
    faults, _ = layer(Fault("drop", rate=1.0, behind="never"))
    assert faults.to_host(TEXT) == TEXT


@pytest.mark.parametrize("wrong", [{"kind": "drop", "behind": "\u20ac"}, {"kind": "brown-out-loop", "behind": "x"}])
def test_a_text_that_cannot_pass_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        Fault(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "reset", "power"), [("mute", True, True), ("latch-up", False, True), ("dead", False, False)]
)
def test_silence_ends_with_what_the_kind_says(kind: str, reset: bool, power: bool) -> None:
    faults, _ = layer(Fault(kind, after=2))
    faults.to_host(b"abcdef")
    assert faults.to_host(b"gone") == b""
    faults.reset()
    assert (faults.to_host(b"back") == b"back") is reset
    faults.power_cut()
    assert (faults.to_host(b"back") == b"back") is power


def test_a_stall_delivers_everything_in_order_afterwards() -> None:
    faults, board = layer(Fault("stall", seconds=0.01, after=2))
    assert faults.to_host(b"abcd") == b""
    faults.to_host(b"ef")
    assert board.wait("deliver")[1] in (b"abcdef", b"abcd")  # or the second part came after the release


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("vanish", ("lose", 0.5, False)),
        ("renamed", ("lose", 0.5, True)),
        ("gone", ("lose", None, False)),
        ("reset-running", ("glitch", "power-on")),
        ("brown-out", ("glitch", "brown-out")),
    ],
)
def test_an_event_reaches_the_board_once(kind: str, asked: tuple[object, ...]) -> None:
    faults, board = layer(Fault(kind, seconds=0.5))
    faults.to_host(TEXT)
    faults.to_host(TEXT)
    assert board.wait(str(asked[0])) == asked
    assert faults.happened == {kind: 1}


def test_a_reset_while_flashing_waits_for_the_boot_loader() -> None:
    faults, board = layer(Fault("reset-flashing", after=10))
    faults.to_board(TEXT)
    assert not faults.happened
    board.downloading = True
    faults.to_board(TEXT)
    assert board.wait("glitch") == ("glitch", "power-on")


def test_mended_means_that_nothing_is_left() -> None:
    faults, _ = layer(Fault("dead"), Fault("flip", rate=1.0), Fault("power-stuck"), Fault("wrong-version"))
    faults.to_host(b"x")
    faults.clear()
    assert faults.to_host(TEXT) == TEXT
    assert not faults.lasts("power-stuck") and faults.boots("wrong-version") is None


@pytest.mark.parametrize("wrong", [{"kind": "gremlin"}, {"kind": "drop", "rate": 2.0}, {"kind": "drop", "count": 0}])
def test_a_fault_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Fault(**wrong)  # type: ignore[arg-type]


def test_there_are_at_least_twenty_kinds_with_a_sentence_each() -> None:
    assert len(KINDS) >= 20
    assert all(kind.sentence.endswith(".") and len(kind.sentence) > 10 for kind in KINDS.values())


def test_the_page_lists_every_kind_with_its_sentence() -> None:
    page = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()
    for kind in (*KINDS.values(), *TRAITS.values()):
        assert f"| `{kind.name}` | {kind.sentence} |" in page


@pytest.mark.parametrize("kind", TRAITS)
def test_a_trait_is_there_at_once_and_outlives_resets_and_power(kind: str) -> None:
    faults, _ = layer(Fault(kind))
    faults.reset()
    faults.power_cut()
    assert faults.lasts(kind) and faults.happened == {kind: 1}
    faults.clear()
    assert not faults.lasts(kind)


def test_no_trait_is_a_kind_that_a_soak_injects() -> None:
    assert not set(TRAITS) & set(KINDS)
