"""``python -m tests.emulated``: all suites on each emulated board, and the table of what came.

From the project's folder: ``python -m tests.emulated [--defects] [--runs N] [--profiles] [--build] [BOARD …]``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from harness.judging.profiles import kinds_table

from . import profiles
from .bench import Result, how_to_run, run_suites
from .boards import BOARDS, DEFECTS, Board
from .table import equal_heap, reasons, table
from .tools import Unavailable


def main() -> int:
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
    options = parser.parse_args()
    known = {board.id: board for board in (*BOARDS, *(defect.board for defect in DEFECTS))}
    default = [defect.board.id for defect in DEFECTS] if options.defects else [board.id for board in BOARDS]
    # A board with a defect is held against the tree as it should have been built.
    healthy = {board.id: board.firmware for board in BOARDS} | {each.board.id: each.healthy for each in DEFECTS}
    unknown = [name for name in options.boards if name not in known]
    if unknown:
        parser.error(f"no emulated board {', '.join(unknown)}; there are {', '.join(known)}")
    if options.profiles:
        return _profiles([known[name] for name in options.boards], options.times)
    results: list[Result] = []
    missing = 0
    with tempfile.TemporaryDirectory() as scratch:
        out = options.out or Path(scratch)
        for name in options.boards or default:
            try:
                if options.build:
                    print(f"{name}: {' '.join(how_to_run(known[name])[0])}", flush=True)
                    continue
                for number in range(options.runs):
                    result = run_suites(
                        known[name], out / f"{name}-{number + 1}", own_tree=healthy[name] if options.own_tree else None
                    )
                    results.append(result)
                    if options.own_tree:
                        print(equal_heap(result), flush=True)
                    print(f"{name}: {result.content['outcome']} in {result.seconds:.0f} s", file=sys.stderr, flush=True)
            except (Unavailable, RuntimeError) as problem:
                missing += 1
                print(f"{name}: {problem}", file=sys.stderr, flush=True)
    if results:
        print(table(results))
        print(reasons(results))
    return 3 if missing else 0


def _profiles(boards: list[Board], file: Path | None) -> int:
    if file is not None and file.exists():
        timed = profiles.kept(file)
    else:
        timed = []
        for board in boards or [board for board in BOARDS if board.firmware is not None and board.firmware.whole]:
            print(f"{board.id} …", file=sys.stderr, flush=True)
            timed += profiles.take(board)
        if file is not None:
            profiles.keep(timed, file)
    made = profiles.made(timed)
    print(profiles.as_source(made))
    print(kinds_table(made))
    print(profiles.report(timed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
