"""``harness soak --faults``."""

from __future__ import annotations

import collections
import contextlib
import json
import multiprocessing
import os
import queue
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.children import interrupted_with_parent
from harness.errors import BenchFault, HarnessError, Interrupted, UsageError
from harness.inventory.load import load_bench
from harness.inventory.locks import board_lock
from harness.inventory.model import Board
from harness.inventory.selection import SHIPPED, bench_file
from harness.link.deadline import Deadline
from harness.proving.soak_board import Episode, soak_board
from harness.proving.soak_plan import Injection, plan
from harness.results.report.json_report import write_json
from harness.shown import Terminal
from harness.virtual.bench import running
from harness.virtual.faults import KINDS

#: What workers may take to give back what they hold after Ctrl-C, in seconds.
_ENDS_WITHIN = 20.0
_BAD = ("fail", "wrong", "lost")


def soak(faults: bool, count: int, seed: int, kinds: str, list_only: bool, bench: str, json_file: str) -> None:
    """Inject faults into the virtual boards while they are measured, written and uploaded to.

    Each must end as recovered or as an error of the bench. Exit code 0: so it was; 1: one ended as a failure of the
    firmware, as a pass with a wrong figure or with a lost board; 3: something was left locked or running.
    """
    console = Terminal(stderr=json_file == "-")
    if list_only:
        for kind in KINDS.values():
            console.print(Text(f"{kind.name:18}{kind.sentence}"), soft_wrap=True)
        return
    if not faults or count < 1:
        raise UsageError("there is nothing to do", hint="harness soak --faults --count 100")
    wanted = [name.strip() for name in kinds.split(",") if name.strip()]
    if unknown := [name for name in wanted if name not in KINDS]:
        raise UsageError(f"there is no fault {unknown[0]!r}", hint="harness soak --list")
    boards = [board for board in load_bench(bench_file(bench or SHIPPED)).boards if board.virtual]
    if not boards:
        raise UsageError("this bench has no virtual board")
    injections = plan(count, seed) if not wanted else [
        injection for injection in plan(count * len(KINDS), seed) if injection.kind in wanted
    ][:count]  # fmt: skip
    folder = Path(tempfile.mkdtemp(prefix="vm-harness-soak-"))
    try:
        started = time.monotonic()
        episodes, problems = _soak(boards, folder, injections, console)
        left = _left_behind(boards, folder)
        seconds = time.monotonic() - started
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _print(console, episodes, problems, left, seconds)
    if json_file:
        write_json(json_file, {"seed": seed, "seconds": round(seconds, 1), "episodes": [asdict(e) for e in episodes],
                               "problems": problems, "left_behind": left})  # fmt: skip
    bad = any(episode.outcome in _BAD for episode in episodes)
    sys.exit(1 if bad else 3 if left or problems or len(episodes) < len(injections) else 0)


def _soak(
    boards: list[Board], folder: Path, injections: list[Injection], console: Console
) -> tuple[list[Episode], list[str]]:
    """A process for each board, as in a run: esptool has one logger a process."""
    spawn = multiprocessing.get_context("spawn")
    news: Any = spawn.Queue()
    stop = spawn.Event()
    workers = []
    for position, board in enumerate(boards):
        share = injections[position :: len(boards)]
        workers.append(spawn.Process(target=_work, args=(board, folder, share, news, stop), name=board.id))
    with _unheard(signal.SIGINT):
        for worker in workers:
            worker.start()
    episodes: list[Episode] = []
    problems: list[str] = []
    at_work = len(workers)
    try:
        while at_work:
            try:
                what, content = news.get(timeout=1.0)
            except queue.Empty:
                dead = [w for w in workers if w.exitcode not in (None, 0)]
                if dead and news.empty():
                    problems += [f"the process of {worker.name} ended with {worker.exitcode}" for worker in dead]
                    break
                continue
            if what == "end":
                at_work -= 1
            elif what == "problem":
                problems.append(content)
            else:
                episode = Episode(**json.loads(content))
                episodes.append(episode)
                if episode.outcome in _BAD or not console.is_terminal:
                    _tell(console, len(episodes), len(injections), episode)
    except KeyboardInterrupt:
        stop.set()
        for worker in workers:
            if worker.pid is not None and worker.is_alive():
                os.kill(worker.pid, signal.SIGINT)
        raise Interrupted(f"{len(episodes)} of {len(injections)} faults had been injected") from None
    finally:
        end = Deadline(_ENDS_WITHIN)
        for worker in workers:
            worker.join(end.left)
            if worker.is_alive():
                worker.kill()
                worker.join()
        news.close()
    return episodes, problems


@contextlib.contextmanager
def _unheard(number: signal.Signals) -> Iterator[None]:
    """What is started inside does not hear that signal until it says so: nothing of it can be ended half imported."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)


def _work(board: Board, folder: Path, injections: list[Injection], news: Any, stop: Any) -> None:
    """Ctrl-C at a terminal reaches the one who watches alone, who has all workers end in order."""
    os.setsid()
    with contextlib.suppress(KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if not stop.is_set():
            _work_through(board, folder, injections, news)


def _work_through(board: Board, folder: Path, injections: list[Injection], news: Any) -> None:
    interrupted_with_parent()
    # What esptool prints is of no interest here.
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        try:
            soak_board(board, folder, injections, lambda e: news.put(("episode", json.dumps(asdict(e)))))
        except HarnessError as problem:
            news.put(("problem", f"{board.id}: {problem.message}"))
        except Exception as problem:  # it must reach the one who watches, whatever it is
            news.put(("problem", f"{board.id}: {type(problem).__name__}: {problem}"))
        finally:
            news.put(("end", board.id))


def _left_behind(boards: list[Board], folder: Path) -> list[str]:
    left = [f"the process of {name} runs on" for name in running(folder / "virtual")]
    for board in boards:
        try:
            with board_lock(board, folder):
                pass
        except BenchFault as problem:
            left.append(problem.message)
    return left


def _tell(console: Console, number: int, total: int, episode: Episode) -> None:
    line = f"{number}/{total} {episode.board} {episode.kind} ({episode.action}): {episode.outcome}"
    if episode.helped:
        line += f", back by {episode.helped}"
    console.print(Text(f"{line}, {episode.seconds:.1f} s  {episode.reason[:160]}"), soft_wrap=True)


def _print(console: Console, episodes: list[Episode], problems: list[str], left: list[str], seconds: float) -> None:
    table = Table(box=None, padding=(0, 1))
    for heading in ("fault", "struck", "pass", "error", "bad", "back by", "seconds (median, most)"):
        table.add_column(heading, overflow="fold")
    by_kind: dict[str, list[Episode]] = {}
    for episode in episodes:
        by_kind.setdefault(episode.kind, []).append(episode)
    for kind in sorted(by_kind):
        some = by_kind[kind]
        ways = collections.Counter(e.helped for e in some if e.helped)
        times = [e.seconds for e in some]
        table.add_row(
            kind,
            f"{sum(e.struck > 0 for e in some)} of {len(some)}",
            str(sum(e.outcome == "pass" for e in some)),
            str(sum(e.outcome == "error" for e in some)),
            str(sum(e.outcome in _BAD for e in some)),
            ", ".join(f"{way} ({n})" for way, n in ways.most_common()) or "-",
            f"{statistics.median(times):.1f}, {max(times):.1f}",
        )
    console.print(table)
    for text in (*problems, *left):
        console.print(Text(text, style="bold red"), soft_wrap=True)
    counts = collections.Counter(e.outcome for e in episodes)
    struck = sum(e.struck > 0 for e in episodes)
    bad = sum(counts[name] for name in _BAD)
    console.print(
        Text(
            f"{len(episodes)} injections of {len(by_kind)} kinds, {struck} struck: {counts['pass']} passed with every "
            f"figure right, {counts['error']} ended as error, {bad} ended badly; {len(left)} things left behind; "
            f"{seconds:.0f} s",
            style="green" if not bad and not left and not problems else "bold red",
        ),
        soft_wrap=True,
    )
