"""The pytest plugin: ``--boards`` and the fixture ``scenario``.

It is loaded by every pytest session of the environment it is installed in, so it imports nothing of the harness until
a test asks for a board. All that goes on then stands in :mod:`harness.campaigns.board_session`, which is registered as
a second plugin.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness.judging.board_bench import BoardBench
    from harness.judging.scenario import Scenario

_NAME = "harness.board_session"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("harness", "hardware-in-the-loop boards")
    group.addoption("--boards", default="", metavar="IDS", help="boards to run the scenarios on, comma separated")
    group.addoption("--bench", default="", metavar="FILE", help="the bench file (default: boards.yaml)")
    group.addoption("--no-flash", action="store_true", help="test the firmware that the boards hold")
    group.addoption("--set-aside", action="store_true", help="set aside what the boards run by themselves")
    group.addoption("--variant", default="", metavar="NAME", help="firmware variant for the virtual boards")
    group.addoption("--wait", type=float, default=300.0, metavar="SECONDS", help="how long to wait for a busy board")
    group.addoption("--store", default="", metavar="FILE|URL", help="results store (default: .harness/results.sqlite)")
    group.addoption(
        "--harness-run", type=int, default=0, help=pytest.HIDDEN if hasattr(pytest, "HIDDEN") else "internal"
    )
    group.addoption("--harness-attended", action="store_true", help="internal: a person watches, and can press buttons")
    group.addoption("--harness-resume", action="store_true", help="internal: leave out what the run has already")
    group.addoption("--harness-select", action="append", default=[], metavar="EXPR", help="as -k of 'harness run'")
    group.addoption("--harness-only", default="", help="internal: a file that names the scenarios to run")
    group.addoption("--harness-plan", default="", help="internal: a file to write what would run to")
    group.addoption("--harness-hand-over", action="store_true", help="internal: what is left is run on another board")
    group.addoption("--harness-place", default="", help="internal: the lab's place that the board is to have")
    group.addoption("--harness-look-again", action="store_true", help="internal: also at boards in quarantine")
    group.addoption("--harness-events", type=int, default=-1, help="internal: descriptor for events")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*capabilities): what a scenario needs of a board (boards.yaml)")
    config.addinivalue_line("markers", "runtime(*names): the runtimes a scenario is for; without it, the usual one")
    config.addinivalue_line("markers", "holds(*points): what it holds of a discussion or a specification; nobody asks")
    config.addinivalue_line("markers", "figures(*figures): what a scenario takes, or skips with a reason, by its end")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each scenario once for each chosen board."""
    if "board_id" in metafunc.fixturenames:
        from harness.campaigns import board_session

        if not metafunc.config.pluginmanager.has_plugin(_NAME):
            metafunc.config.pluginmanager.register(board_session, _NAME)
        boards = [board.id for board in board_session.session_of(metafunc.config).boards]
        metafunc.parametrize("board_id", boards, scope="session")


def pytest_exception_interact(node: pytest.Collector, call: pytest.CallInfo[object], report: object) -> None:
    """A suite that cannot be collected: the plan says why, and a message of the harness stands without a traceback."""
    if not isinstance(report, pytest.CollectReport) or call.excinfo is None:
        return
    from harness.errors import UsageError

    if isinstance(call.excinfo.value, UsageError):
        report.longrepr = str(call.excinfo.value)
    if node.config.getoption("--harness-plan"):
        from harness.campaigns.collected import note_problem

        note_problem(node, call.excinfo.value)


def pytest_collection_finish(session: pytest.Session) -> None:
    """With ``--harness-plan``: write what would run, and what is wrong with the suites."""
    if session.config.getoption("--harness-plan"):
        from harness.campaigns.collected import write_plan

        write_plan(session)


@pytest.fixture(scope="session")
def board_bench(request: pytest.FixtureRequest, board_id: str) -> Iterator[BoardBench]:
    """The board ``board_id`` made ready, and a reference VM of its size."""
    from harness.campaigns.board_session import board_made_ready

    yield from board_made_ready(request.config, board_id)


@pytest.fixture
def scenario(request: pytest.FixtureRequest, board_bench: BoardBench) -> Scenario:
    """One scenario on one board: see :class:`harness.judging.scenario.Scenario`."""
    from harness.campaigns.board_session import new_scenario

    return new_scenario(request, board_bench)
