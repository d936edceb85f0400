"""``python -m tests.mutations [--write] [NAME...]``: runs each mutation against what is to catch it.

``--write`` puts the result into ``docs/mutations.md``. Ends with 1 when one was missed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.mutations.applying import Mutation
from tests.mutations.catching import ROOT, caught, run_tests
from tests.mutations.table import MUTATIONS

PAGE = ROOT / "docs" / "mutations.md"
_HEAD = """# Mutations of shared code

The virtual boards and the reference VM share code: supervisor, sleep, clock, events, Lua's heap, flash region. A
mistake in it is on both sides, and a comparison of the two says nothing. So the suites hold a figure against what a
document, the port or the program itself says, wherever one does (`asked=` of `scenario.compare`), and show the
reference beside it.

This table is what that is worth: each row is a mistake put into shared code, on both sides, and the one scenario or
test that is to catch it. `python -m tests.mutations [--write] [NAME...]` runs them; `tests/mutations/test_mutations.py`
does so with all tests: each catcher passes without its mutation, and fails with it. A scenario is run with a reference
in the board's place, where nothing but the shared code is on either side.

"""
_COLUMNS = "| mutation | what is wrong then | caught by | which says |\n|---|---|---|---|\n"


def main(arguments: list[str]) -> int:
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    names = [name for name in arguments if name != "--write"]
    unknown = set(names) - {one.name for one in MUTATIONS}
    if unknown or ("--write" in arguments and names):
        print(f"there is no mutation {', '.join(sorted(unknown))}" if unknown else "--write wants all of them")
        return 2
    chosen = [one for one in MUTATIONS if not names or one.name in names]
    said: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        tests = [one for one in chosen if not one.by_scenario]
        ran = run_tests(tests, Path(folder)) if tests else {}
    for one in chosen:
        said[one.name] = caught(one, one.catcher) if one.by_scenario else ran[one.name].with_it
        print(f"{one.name:26} {said[one.name] or 'MISSED'}", flush=True)
    missed = [name for name, words in said.items() if not words]
    print(f"{len(chosen)} mutations, {len(missed)} missed {' '.join(missed)}")
    if "--write" in arguments and not missed:
        PAGE.write_text(page(said))
    return 1 if missed else 0


def page(said: dict[str, str]) -> str:
    """``docs/mutations.md``."""
    parts = dict.fromkeys(one.part for one in MUTATIONS)
    text = _HEAD + f"{len(MUTATIONS)} mutations, none missed.\n"
    for part in parts:
        text += f"\n## {part[0].upper()}{part[1:]}\n\n{_COLUMNS}"
        text += "".join(_rows((one for one in MUTATIONS if one.part == part), said))
    return text


def _rows(mutations: Iterable[Mutation], said: dict[str, str]) -> Iterable[str]:
    for one in mutations:
        words = said[one.name].replace("|", "\\|").replace("\n", " ")
        words = words[:157] + "…" if len(words) > 158 else words
        yield f"| {one.name} | {one.does} | `{one.catcher.replace('::', '` `')}` | {words} |\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
