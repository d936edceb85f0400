"""The same board's last good firmware as a second measure of its times.

What one chip takes for the same work repeats to a per cent or two, so that a few per cent mean something that no
prediction sees. But it is another firmware's time, not a rule: slower is told and marginal, and never fails.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.judging.limits import Limit

#: Which programs the times were taken with. Raised with each change of ``fixtures/programs/calibration.py`` or of how
#: the agent takes times: times of two editions are not held against each other.
EDITION = 3
#: By so many per cent may a time be longer than with the last good firmware; more is told, and marginal.
SLOWER_PERCENT = 5.0
#: What a board's clock is called that does not say its frequency.
UNSAID = "unsaid"


@dataclass(frozen=True)
class Earlier:
    """The micro-benchmarks of a good run: when it began (host's clock), its firmware, the times in µs by name.

    ``clock`` is the chip's frequency in Hz as text, or :data:`UNSAID`.
    """

    started: float
    version: str
    clock: str
    times: Mapping[str, float]

    @property
    def words(self) -> str:
        return f"on {time.strftime('%Y-%m-%d', time.localtime(self.started))} with {self.version}"


@dataclass(frozen=True)
class Since:
    """A time by what it was: ``ratio`` over 1 is slower. ``name`` is "all" for the median of all of them."""

    name: str
    ratio: float
    limit: Limit


def told(ratio: float, earlier: Earlier) -> str:
    """``3.1 % slower than on 2026-11-20 with 1.26.0``."""
    percent = 100 * abs(ratio - 1)
    if percent < 0.05:
        return f"as {earlier.words}"
    return f"{percent:.1f} % {'slower' if ratio > 1 else 'quicker'} than {earlier.words}"


def since(times: Mapping[str, float], clock: str, earlier: Earlier) -> Iterator[Since] | str:
    """All of them together, then each one that is slower by more than :data:`SLOWER_PERCENT`; or why not.

    Nothing is held against times of another clock frequency. A board that does not say its frequency is taken to have
    kept it while the median of its times has, to within the same few per cent.
    """
    ratios = {name: took / earlier.times[name] for name, took in times.items() if earlier.times.get(name, 0) > 0}
    if not ratios:
        return f"the last good run {earlier.words} has none of these times"
    if clock != earlier.clock:
        return f"the clock is {hertz(clock)}, and was {hertz(earlier.clock)} {earlier.words}"
    middle = statistics.median(ratios.values())
    if clock == UNSAID and not 1 / _MOST < middle < _MOST:
        return (
            f"the board does not say its clock frequency, and all of it is {told(middle, earlier)}: "
            "another clock or emulator, as far as anybody can tell"
        )
    return _each(ratios, middle, earlier)


_MOST = 1 + SLOWER_PERCENT / 100


def _each(ratios: Mapping[str, float], middle: float, earlier: Earlier) -> Iterator[Since]:
    for name, ratio in {"all": middle, **{name: ratio for name, ratio in ratios.items() if ratio > _MOST}}.items():
        words = f"at most {SLOWER_PERCENT:g} % slower than {earlier.words} (it is {told(ratio, earlier)})"
        yield Since(name, round(ratio, 4), Limit(words, good_high=_MOST))


def hertz(clock: str) -> str:
    """``160 MHz``, or that it is not said."""
    return f"{int(clock) / 1e6:g} MHz" if clock.isascii() and clock.isdigit() else "not said"


#: Prints the clock's frequency in Hz, or nothing.
ASK_CLOCK = """
try:
    from machine import freq
    hz = freq()
    print(hz[0] if isinstance(hz, tuple) else hz)
except (ImportError, AttributeError):
    try:
        from microcontroller import cpu
        print(cpu.frequency)
    except (ImportError, AttributeError):
        pass
"""
