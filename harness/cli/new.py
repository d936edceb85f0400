"""``harness new suite NAME``: a suite of one's own to begin with, which runs at once."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

import click

from harness.cli.options import CONTEXT
from harness.errors import UsageError

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

_SUITE = '''\
"""What {name} asks of every board of the bench. 'harness run {name}' runs it, and so does 'pytest {name}'."""

from harness.suite import Program, Scenario, figure

HEAP = figure("{name}.heap", "heap", "at most 1000 B")
TIME = figure("{name}.time", "time", "at most 500 ms")


def test_a_list_of_squares(scenario: Scenario) -> None:
    """A hundred numbers in a list: what they take on the board, beside what they take in the reference VM."""
    pair = scenario.run(Program.load("{name}", count=100))
    scenario.take(HEAP, *pair.value("heap"))
    scenario.take(TIME, *pair.value("time"))
    assert pair.board.value("last") == 99 * 99
'''

_PROGRAM = """\
# Runs on the board and in the reference VM, each started anew. INPUT holds what the suite gave to Program.load.
def work():
    global squares
    squares = [i * i for i in range(INPUT["count"])]


agent.heap("heap", work)
agent.time("time", work)
agent.count("last", squares[-1])
agent.done()
"""


@click.group(context_settings=CONTEXT)
def new() -> None:
    """Files to begin with."""


@new.command("suite", context_settings=CONTEXT)
@click.argument("name")
def suite(name: str) -> None:
    """Write a suite NAME into the current folder: a scenario with a heap limit and a time limit, and its program."""
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise UsageError(f"{name!a:.60} is no name for a suite", hint="small letters, digits and _, such as 'my_suite'")
    from harness.paths import suites_dir

    if (suites_dir() / name).exists():
        raise UsageError(f"the harness has a suite {name!r} of its own", hint="choose another name")
    folder = Path(name)
    files = {folder / f"test_{name}.py": _SUITE, folder / f"{name}.py": _PROGRAM}
    for file in files:
        if file.exists():
            raise UsageError(f"{file} is there already; nothing was written")
    try:
        folder.mkdir(exist_ok=True)
        for file, text in files.items():
            file.write_text(text.format(name=name) if text is _SUITE else text, "utf-8")
    except OSError as problem:
        raise UsageError(f"{folder} cannot be written: {problem.strerror}") from None
    for file in files:
        click.echo(str(file))
    first = "" if Path("boards.yaml").exists() else "harness init --virtual, then "
    click.echo(f"next: {first}harness run {name}")
