"""``python -m tests.discussions [--write]``: the page of points, on the screen or into docs/discussions.md."""

from __future__ import annotations

import argparse

from .page import PAGE, page
from .points import discussions, holders


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.discussions", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put it into docs/discussions.md")
    options = parser.parse_args()
    text = page(discussions(), holders())
    if options.write:
        PAGE.write_text(text, "utf-8")
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
