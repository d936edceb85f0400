"""``python -m tests.emulated``: all suites on each emulated board, and the table of what came.

From the project's folder: ``python -m tests.emulated [--defects] [--runs N] [--profiles] [--build] [BOARD …]``. With
``--write`` what it prints stands in the documentation then, in place of what was there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.judging.profiles import kinds_table

from . import page, profiles
from .bench import Result, how_to_run, kept, run_suites
from .boards import BOARDS, DEFECTS, Board, healthy_board
from .builds import Firmware
from .matrix import finding, matrix
from .table import equal_heap, reasons, table
from .tools import Unavailable

PAGE, TIMES_PAGE = "emulated-board.md", "times.md"


def main() -> int:
    options = _options()
    known = {board.id: board for board in (*BOARDS, *(defect.board for defect in DEFECTS))}
    if options.profiles:
        return _profiles([known[name] for name in options.boards], options.times, write=options.write)
    if options.defects:
        chosen = [defect for defect in DEFECTS if not options.boards or defect.board.id in options.boards]
        # Each defect is held against the same firmware without it.
        ids = [*dict.fromkeys(healthy_board(defect).id for defect in chosen), *(defect.board.id for defect in chosen)]
    else:
        ids = options.boards or [board.id for board in BOARDS]
    if options.build:
        return _build([known[name] for name in ids])
    with tempfile.TemporaryDirectory() as scratch:
        results, missing = _results([known[name] for name in ids], options, options.out or Path(scratch))
    if options.defects:
        missing += _defects(results, write=options.write)
    elif results:
        print(table(results))
        print(reasons(results))
        if options.write:
            page.write(PAGE, {"runs": table(results), "reasons": reasons(results)})
    return 3 if missing else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.emulated", description=__doc__)
    parser.add_argument("boards", nargs="*", metavar="BOARD", help="ids (default: all healthy boards)")
    parser.add_argument("--own-tree", action="store_true", help="with references built from the boards' own trees")
    parser.add_argument("--defects", action="store_true", help="the firmware with one wrong setting each, instead")
    parser.add_argument("--runs", type=int, default=1, metavar="N", help="how often (default 1)")
    parser.add_argument("--profiles", action="store_true", help="time each kind of work, fit profiles, print both")
    parser.add_argument(
        "--times", type=Path, metavar="FILE", help="with --profiles: keep the times there, or take them"
    )
    parser.add_argument("--build", action="store_true", help="only build, and say how to run it")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="keep bench files and results there")
    parser.add_argument("--kept", action="store_true", help="with --out: take the results that are there already")
    parser.add_argument("--write", action="store_true", help="put the tables into the documentation")
    options = parser.parse_args()
    known = [board.id for board in (*BOARDS, *(defect.board for defect in DEFECTS))]
    unknown = [name for name in options.boards if name not in known]
    if unknown:
        parser.error(f"no emulated board {', '.join(unknown)}; there are {', '.join(known)}")
    if options.kept and not options.out:
        parser.error("--kept takes the results of a folder: --out FOLDER")
    return options


def _build(boards: Sequence[Board]) -> int:
    missing = 0
    for board in boards:
        try:
            print(f"{board.id}: {' '.join(how_to_run(board)[0])}", flush=True)
        except Unavailable as problem:
            missing += 1
            _say(f"{board.id}: {problem}")
    return 3 if missing else 0


def _results(boards: Sequence[Board], options: argparse.Namespace, out: Path) -> tuple[list[Result], int]:
    """What came of each run, and of how many boards nothing did."""
    results, missing = [], 0
    own_trees: dict[str, Firmware] = {}
    if options.own_tree:  # a board with a defect is held against the tree as it should have been built
        own_trees = {board.id: board.firmware for board in BOARDS if board.firmware is not None}
        own_trees |= {defect.board.id: defect.healthy for defect in DEFECTS}
    for board in boards:
        try:
            for number in range(options.runs):
                folder = out / f"{board.id}-{number + 1}"
                there = options.kept and (folder / "run.json").exists()
                result = kept(board, folder) if there else run_suites(board, folder, own_tree=own_trees.get(board.id))
                results.append(result)
                if options.own_tree:
                    print(equal_heap(result), flush=True)
                _say(f"{board.id}: {result.content['outcome']} in {result.seconds:.0f} s{' (kept)' if there else ''}")
        except (Unavailable, RuntimeError) as problem:
            missing += 1
            _say(f"{board.id}: {problem}")
    return results, missing


def _defects(results: Sequence[Result], *, write: bool) -> int:
    """Print what came of the defects; of how many it is not what their records say."""
    found = {result.board.id: result for result in results}
    findings = [
        finding(defect, found[defect.board.id], found[healthy_board(defect).id])
        for defect in DEFECTS
        if defect.board.id in found and healthy_board(defect).id in found
    ]
    text = matrix(findings)
    print(text)
    if write:
        page.write(PAGE, {"defects": text})
    problems = [one.problem for one in findings if one.problem]
    for problem in problems:
        _say(problem)
    return len(problems)


def _profiles(boards: Sequence[Board], file: Path | None, *, write: bool) -> int:
    if file is not None and file.exists():
        timed = profiles.kept(file)
    else:
        timed = []
        for board in boards or [board for board in BOARDS if board.firmware is not None and board.firmware.whole]:
            _say(f"{board.id} …")
            timed += profiles.take(board)
        if file is not None:
            profiles.keep(timed, file)
    parts = {"residuals": profiles.summary(timed), "each": profiles.report(timed)}
    if made := profiles.made(timed):  # not from times of the calibration alone
        print(profiles.as_source(made))
        parts["weights"] = kinds_table(made)
    for text in parts.values():
        print(text)
    if write and not made:
        _say("not written: there are times of the calibration alone, without those that weights are fitted on")
        return 2
    if write:
        page.write(TIMES_PAGE, parts)
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
