"""Tests with mutations: each runs without any, and once with each mutation that it is to catch.

``pytest -p tests.mutations.plugin --mutations=NAME,NAME --mutations-report=FILE``. What is written is what each said,
empty for a pass: ``{"without": {test: words}, "with": {mutation: words}}``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

from tests.mutations.applying import apply
from tests.mutations.table import MUTATIONS

_SAID: dict[str, dict[str, str]] = {"without": {}, "with": {}}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mutations", default="", help="names of mutations of tests/mutations/table.py")
    parser.addoption("--mutations-report", help="the file to write")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool:
    names = item.config.getoption("--mutations").split(",")
    mine = [one for one in MUTATIONS if one.name in names and item.nodeid.split("[")[0] == one.catcher.split("[")[0]]
    for catcher in {one.catcher for one in mine}:
        _note(_SAID["without"], catcher, _run(item))
    for one in mine:
        with pytest.MonkeyPatch.context() as patch:
            apply(one, patch)
            _note(_SAID["with"], one.name, _run(item))
    return True


def _note(said: dict[str, str], name: str, words: str) -> None:
    """A test with parameters says what the first of them says that fails."""
    said[name] = said.get(name) or words


def _run(item: pytest.Item) -> str:
    item._initrequest()  # type: ignore[attr-defined]
    reports = runtestprotocol(item, log=False, nextitem=None)
    bad = [report for report in reports if not report.passed]
    if not bad:
        return ""
    crash = getattr(bad[0].longrepr, "reprcrash", None)
    return str(crash.message if crash else bad[0].longrepr).splitlines()[0]


def pytest_sessionfinish(session: pytest.Session) -> None:
    Path(session.config.getoption("--mutations-report")).write_text(json.dumps(_SAID))
