"""Profiles: how much each kind of the reference's work costs a processor, next to the other kinds.

A profile is a shape; a board's calibration gives it one scale, which is its clock. docs/times.md says how they are
made (``python -m tests.emulated --profiles`` fits and prints them), and how well they predict.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.reference.engine.counted_build import FUEL_WEIGHTS, Work
from harness.reference.timeline import NS_PER_INSTRUCTION


@dataclass(frozen=True)
class Profile:
    """``weights`` has one for each kind of :class:`Work`, in its order; about 1 is a plain instruction of the mean.

    ``known`` is by how much the calibration's own operations are off from that on the boards that it was fitted on.
    """

    name: str
    words: str
    weights: tuple[float, ...]
    known: Mapping[str, float] = field(default_factory=dict)

    def cost(self, work: Sequence[float], name: str = "") -> float:
        """What ``work`` (counts by kind) costs, in µs of the reference's clock by these weights.

        ``name`` is the operation's, of which may be known that it takes more or less than that.
        """
        cost = sum(weight * count for weight, count in zip(self.weights, work, strict=True))
        return cost * NS_PER_INSTRUCTION / 1000 * self.known.get(name, 1.0)


#: The reference itself, each instruction alike: for VMs that are the same build, and where nothing can be counted.
PLAIN = Profile("plain", "as in the reference, each instruction alike", FUEL_WEIGHTS)

#: The profile that is the mean of the others.
GENERIC = "generic"

#: Fitted on emulated boards (docs/times.md). Of Xtensa there is no honest source: such boards get what fits best.
PROFILES = (
    Profile(
        "thumb-m0",
        "Arm Thumb without division and long multiplication, as on a Cortex-M0",
        (0.299, 3.14, 22.3, 2.67, 0, 0, 11.7, 12.7, 0, 0, 0, 45.7, 41.4, 548, 0, 805, 0),
        {
            "loop": 1.023,
            "while_loop": 0.979,
            "calls": 1.078,
            "methods": 1.11,
            "attributes": 0.984,
            "dict_access": 0.974,
            "list_access": 0.979,
            "appends": 0.958,
            "strings": 1.041,
            "formatting": 0.93,
            "exceptions": 0.993,
            "generators": 0.95,
            "closures": 1.055,
            "big_ints": 1.157,
            "floats": 1.054,
            "sorting": 1.177,
            "compiling": 0.962,
        },
    ),
    Profile(
        "thumb-m3",
        "Arm Thumb-2 without floating point, as on a Cortex-M3",
        (0.632, 1.86, 7.87, 2.66, 0, 0.228, 6.29, 19.8, 0, 0, 0, 0, 77.9, 309, 0, 57.4, 8.74),
        {
            "loop": 1.005,
            "while_loop": 0.951,
            "calls": 1.036,
            "methods": 1.034,
            "attributes": 0.967,
            "dict_access": 0.986,
            "list_access": 1.03,
            "appends": 0.937,
            "strings": 0.97,
            "formatting": 1.01,
            "exceptions": 0.982,
            "generators": 0.932,
            "closures": 1.07,
            "big_ints": 1.176,
            "floats": 1.068,
            "sorting": 0.952,
            "compiling": 1.035,
        },
    ),
    Profile(
        "rv32",
        "RISC-V with multiplication and compressed instructions, as on an ESP32-C3",
        (0.834, 1.02, 4.88, 0.0308, 0, 0.692, 10.7, 27.6, 0, 0, 5.87, 0, 50.1, 448, 0, 0, 8.1),
        {
            "loop": 0.972,
            "while_loop": 1.014,
            "calls": 1.044,
            "methods": 1.091,
            "attributes": 0.971,
            "dict_access": 1.015,
            "list_access": 1.022,
            "appends": 0.963,
            "strings": 0.905,
            "formatting": 0.953,
            "exceptions": 0.86,
            "generators": 0.901,
            "closures": 1.032,
            "big_ints": 1.042,
            "floats": 1.064,
            "sorting": 0.936,
            "compiling": 1.082,
        },
    ),
    Profile(
        "generic",
        "the mean of the others, for an instruction set that none of them is",
        (0.6, 1.79, 11.1, 2.23, 0, 0.402, 8.96, 21, 0, 0, 2.34, 0, 58.4, 400, 0, 248, 5.95),
        {
            "loop": 0.994,
            "while_loop": 0.971,
            "calls": 1.041,
            "methods": 1.059,
            "attributes": 0.971,
            "dict_access": 0.988,
            "list_access": 1.01,
            "appends": 0.949,
            "strings": 0.979,
            "formatting": 0.98,
            "exceptions": 0.948,
            "generators": 0.922,
            "closures": 1.052,
            "big_ints": 1.131,
            "floats": 1.061,
            "sorting": 1,
            "compiling": 1.028,
        },
    ),
)


def profile_named(name: str) -> Profile:
    """The profile of that name; the plain one for a name out of a store that is not known here."""
    return next((profile for profile in PROFILES if profile.name == name), PLAIN)


# -- fitting ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Timed:
    """One operation on one board: its time in µs, the reference's plain cost, and its work by kind."""

    board: str
    name: str
    measured_us: float
    cost: float
    work: tuple[float, ...]


def fit_weights(timed: Sequence[Timed]) -> tuple[float, ...]:
    """The weights, none negative, that least squares of the relative errors give, over boards of any speed.

    Each board's times are first divided by what a plain instruction takes it, in the median.
    """
    pace: dict[str, float] = {}
    for board in {one.board for one in timed}:
        pace[board] = statistics.median(one.measured_us / sum(one.work) for one in timed if one.board == board)
    rows = [[count * pace[one.board] / one.measured_us for count in one.work] for one in timed]
    return least_squares(rows)


def least_squares(rows: Sequence[Sequence[float]], *, rounds: int = 20_000) -> tuple[float, ...]:
    """The ``x``, none negative, with which each row's product is nearest to 1; by descent along one axis at a time.

    A column of zeros gets 0.
    """
    size = range(len(rows[0]))
    products = [[sum(row[i] * row[j] for row in rows) for j in size] for i in size]
    sums = [sum(row[i] for row in rows) for i in size]
    found = [0.0] * len(size)
    for _ in range(rounds):
        change = 0.0
        for i in size:
            if products[i][i] == 0:
                continue
            rest = sum(products[i][j] * found[j] for j in size if j != i)
            value = max(0.0, (sums[i] - rest) / products[i][i])
            change = max(change, abs(value - found[i]) / (value + 1e-3))
            found[i] = value
        if change < 1e-6:
            break
    return tuple(found)


def residuals(timed: Sequence[Timed], weights: Sequence[float]) -> dict[str, float]:
    """For each operation of one board, its time by the time that ``weights`` and the others' median scale predict."""
    costs = {one.name: sum(weight * count for weight, count in zip(weights, one.work, strict=True)) for one in timed}
    ratios = {one.name: one.measured_us / costs[one.name] for one in timed if costs[one.name] > 0}
    return {name: ratio / _median_without(ratios, name) for name, ratio in ratios.items()}


def _median_without(ratios: Mapping[str, float], left_out: str) -> float:
    return math.exp(statistics.median(math.log(ratio) for name, ratio in ratios.items() if name != left_out))


def left_out(timed: Sequence[Timed], tried: Sequence[Timed]) -> dict[str, float]:
    """The same for ``tried``, with weights that were fitted without any time of the operation in question."""
    result = {}
    for name in {one.name for one in tried}:
        weights = fit_weights([one for one in timed if one.name != name])
        result[name] = residuals(tried, weights)[name]
    return result


def kinds_table(profiles: Sequence[Profile]) -> str:
    """Weights by kind, as Markdown."""
    lines = [f"| work | {' | '.join(profile.name for profile in profiles)} |", f"|---|{'---|' * len(profiles)}"]
    lines += [
        f"| {kind.name.lower()} | {' | '.join(f'{profile.weights[kind]:.3g}' for profile in profiles)} |"
        for kind in Work
    ]
    return "\n".join(lines) + "\n"
