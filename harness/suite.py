"""What a suite of one's own imports: ``from harness.suite import Program, Scenario, figure``."""

from harness.judging.board_bench import Pair
from harness.judging.figures import Figure, figure
from harness.judging.limits import Limit, at_least, at_most, between, exactly
from harness.judging.scenario import Scenario
from harness.runtimes.program import Program

__all__ = ["Figure", "Limit", "Pair", "Program", "Scenario", "at_least", "at_most", "between", "exactly", "figure"]
