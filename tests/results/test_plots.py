"""The small plots show what they are given, and nothing where there is nothing to see."""

import math
import re
import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from harness.kinds import BUILT_IN, named
from harness.results.report.plots import distribution_svg, trend_svg

FIGURES = st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=60)


@given(FIGURES)
def test_whatever_the_figures_a_plot_stays_inside_its_box(values: list[float]) -> None:
    for svg in (
        *(trend_svg(values, kind.history) for kind in BUILT_IN.values() if kind.history),
        trend_svg(values),
        distribution_svg(values),
    ):
        if not svg:
            continue
        ET.fromstring(svg)
        numbers = [float(n) for pair in re.findall(r'points="([^"]+)"', svg) for n in re.split("[ ,]", pair)]
        assert all(math.isfinite(n) and -0.1 <= n <= 130.1 for n in numbers)


def test_a_figure_that_never_changes_gets_no_plot() -> None:
    assert trend_svg([496.0] * 20) == distribution_svg([3.0] * 20) == ""


def test_a_rising_figure_rises_from_left_to_right() -> None:
    points = re.search(r'points="([^"]+)"', trend_svg([1, 2, 4]))
    assert points is not None
    assert points.group(1) == "3.0,23.0 65.0,16.3 127.0,3.0"


def test_noise_below_the_least_effect_does_not_look_like_a_cliff() -> None:
    def height(values: list[float], kind: str) -> float:
        effect = named(kind).history
        assert effect is not None
        points = re.search(r'points="([^"]+)"', trend_svg(values, effect))
        assert points is not None
        heights = [float(pair.split(",")[1]) for pair in points.group(1).split()]
        return max(heights) - min(heights)

    assert height([10411.0, 10411.0, 10410.0], "time") < 0.2
    assert height([10411.0, 10411.0, 9000.0], "time") == 20
    assert height([48.0, 48.0, 64.0], "heap") == 20


def test_samples_are_counted_where_they_lie() -> None:
    svg = distribution_svg([0.0] * 9 + [100.0])
    bars = [(float(x), float(h)) for x, h in re.findall(r'<rect x="([\d.]+)".*?height="([\d.]+)"/>', svg)]
    assert [x for x, _ in bars] == [3.0, 122.2]
    assert bars[0][1] > bars[1][1] > 0
    assert "10 samples: 0 to 100" in svg
