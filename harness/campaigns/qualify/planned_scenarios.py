"""The scenarios pytest would run, as a JSON list.

``python -m harness.campaigns.qualify.planned_scenarios BENCH BOARD PATH...``
"""

from __future__ import annotations

import contextlib
import io
import json
import sys

import pytest

from harness.judging.scenario_names import name_of


class _Collector:
    def __init__(self) -> None:
        self.found: list[str] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.found = [f"{item.path.parent.name}: {name_of(item)}" for item in session.items]


def main() -> int:
    bench, board, *paths = sys.argv[1:]
    collector = _Collector()
    words = io.StringIO()
    with contextlib.redirect_stdout(words):
        arguments = ["--collect-only", "-q", "-p", "no:cacheprovider", "--bench", bench, "--boards", board]
        # A run of its own would be an empty one in the store.
        code = pytest.main([*arguments, "--harness-run", "-1", *paths], plugins=[collector])
    if code not in (0, 5):
        sys.stderr.write(words.getvalue())
        return int(code)
    print(json.dumps(sorted(collector.found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
