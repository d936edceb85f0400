"""``python -m tests.first_contact [--write] [SITUATION…]``: meet them, on the screen or into docs/first-contact.md."""

from __future__ import annotations

import argparse

from .page import PAGE, page, rows, said_in
from .situations import SITUATIONS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.first_contact", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put it into docs/first-contact.md")
    parser.add_argument("situations", nargs="*", metavar="SITUATION", help="only these; the others stay as they are")
    options = parser.parse_args()
    before = {slug: words for slug, (_, words) in rows(PAGE.read_text("utf-8")).items()} if PAGE.exists() else {}
    said = {}
    for slug in SITUATIONS:
        asked = not options.situations or slug in options.situations
        said[slug] = before.get(slug, "")
        if asked:
            try:
                said[slug] = said_in(slug)
            except Exception as problem:  # the others are met all the same
                print(f"{slug}: {type(problem).__name__}: {problem}", flush=True)
                continue
            print(f"{slug}: {said[slug]}", flush=True)
    if options.write:
        PAGE.write_text(page(said), "utf-8")


if __name__ == "__main__":
    main()
