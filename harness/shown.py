"""What is shown to a person: the one way on which text leads to a terminal or a page.

Boards, files and other hosts have a say in most texts: a certificate's, a transcript's, a store's, a bench file's. None
of it may move a cursor, set a colour or a title, turn the reading direction, or be taken for markup. So a
:class:`Terminal` cleans every piece of text on its way out, whoever made it, and adds its own colours afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment


def plain(text: str, limit: int = 2000) -> str:
    """``text`` without control and formatting characters (escapes, bidirectional overrides, lone surrogates), bounded.

    Lines stay lines.
    """
    clean = text if text.isprintable() else "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def one_line(text: str, limit: int = 300) -> str:
    """The same as one line, for a place where the end of a line has a meaning: a row, a comment of a file."""
    return " ".join(plain(text, limit).split())


class Terminal(Console):
    """A console on which nothing but its own styles has an effect. Text is taken as it stands, never as markup."""

    def __init__(self, *, stderr: bool = False, highlight: bool = False, **options: Any) -> None:
        super().__init__(stderr=stderr, highlight=highlight, markup=False, emoji=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(plain(segment.text, len(segment.text)), segment.style)


def say(text: str, *, stderr: bool = False, end: str = "\n") -> None:
    """One text without any style, as it is but for what :func:`plain` takes out. Not folded."""
    import click

    click.echo(plain(text, len(text)) + end, nl=False, err=stderr)
