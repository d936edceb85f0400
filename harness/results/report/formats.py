"""The forms in which a run can be written to a file: an entry of ``harness.extensions`` for each ``--report``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness import extensions
from harness.errors import UsageError
from harness.paths import require_writable, unwritable
from harness.results.run_record import RunRecord
from harness.results.store import Store

GROUP = "harness.reports"


@dataclass(frozen=True)
class Finished:
    """A run at its end: its record, the store that it stands in (open), and the bench's state folder."""

    run: RunRecord
    store: Store
    state: Path


@dataclass(frozen=True)
class ReportFormat:
    """One form. ``write`` makes the file, and raises UsageError when it cannot be written.

    What a record holds, a board may have said: a format escapes it as its readers need.
    """

    name: str
    write: Callable[[Finished, Path], None]


def parse(option: str) -> tuple[str, Path]:
    """``NAME=FILE`` of ``--report``. Raises UsageError for anything else, and for a format that there is not."""
    name, separator, file = option.partition("=")
    if not separator or not file:
        raise UsageError(f"--report {option[:80]!r}: expected NAME=FILE", hint="--report markdown=summary.md")
    known = extensions.names(GROUP)
    if name not in known:
        raise UsageError(f"--report: there is no format {name[:40]!r}", hint=f"formats: {', '.join(known)}")
    require_writable(file)
    return name, Path(file)


def write(name: str, finished: Finished, file: Path) -> None:
    """Write the run to ``file`` in the format ``name``."""
    try:
        extensions.load(GROUP, name, ReportFormat).write(finished, file)
    except OSError as problem:
        raise unwritable(file, problem) from None


# -- the harness's own; each loads what it needs ---------------------------------------------------


def _json(finished: Finished, file: Path) -> None:
    from harness.results.report.json_report import run_to_json, write_json

    write_json(str(file), run_to_json(finished.run))


def _junit(finished: Finished, file: Path) -> None:
    from harness.results.report.junit import write_junit

    write_junit(finished.run, file)


def _html(finished: Finished, file: Path) -> None:
    from harness.results.before import run_before
    from harness.results.report.html import write_html
    from harness.results.report.plots import trends_of

    trends, before = trends_of(finished.run, finished.store), run_before(finished.run, finished.store)
    write_html(finished.run, file, trends, finished.state, before)


def _markdown(finished: Finished, file: Path) -> None:
    from harness.results.report.markdown import run_to_markdown

    file.write_text(run_to_markdown(finished.run), "utf-8")


JSON = ReportFormat("json", _json)
JUNIT = ReportFormat("junit", _junit)
HTML = ReportFormat("html", _html)
MARKDOWN = ReportFormat("markdown", _markdown)
