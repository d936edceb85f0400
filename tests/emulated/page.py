"""Parts of the documentation that a command makes: between two marks, which say by which command."""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def replaced(page: str, name: str, text: str) -> str:
    """``page`` with ``text`` between the marks of the part ``name``. Raises LookupError when it has no such part."""
    begin, end = f"<!-- made: {name}", f"<!-- end: {name} -->"
    before, mark, rest = page.partition(begin)
    head, closed, rest = rest.partition("-->\n")
    _, ends, after = rest.partition(end)
    if not (mark and closed and ends):
        raise LookupError(f"there is no part {name!r}: expected {begin!r} … '-->', and after it {end!r}")
    return f"{before}{begin}{head}-->\n{text.strip()}\n{end}{after}"


def write(file: str, parts: dict[str, str]) -> None:
    """Put each part into ``docs/<file>``. Raises LookupError when it lacks one; then nothing is written."""
    path = DOCS / file
    page = path.read_text("utf-8")
    for name, text in parts.items():
        page = replaced(page, name, text)
    path.write_text(page, "utf-8")
