"""A simulated year of nightly runs with known steps; the false-alarm rate by kind of noise; a store of many rows.

``HISTORY_ROWS`` (environment): measurements in the store of the query benchmark, default 1,000,000; ``HISTORY_KILLS``:
writers killed, default 20. Everything is seeded; figures of the year and of the noise do not depend on the host.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from harness.bench.firmware_record import FirmwareRecord
from harness.judging.compare import Measurement
from harness.judging.outcome import Outcome
from harness.kinds import HEAP, TIME
from harness.results.change import Point, find_steps
from harness.results.run_record import BoardRecord, ScenarioResult
from harness.results.series import History, histories
from harness.results.store import Store
from harness.results.store_schema import limit_row, series_row

_NIGHTS = 365
_BOARDS = 20
#: Figures of a board in the simulated year: heap and states stand still, times scatter.
_TIMES, _EXACT = 30, 50
_FIRST_NIGHT = 1_735_689_600.0  # 2025-01-01
_ROWS = int(os.environ.get("HISTORY_ROWS", "1000000"))
_KILLS = int(os.environ.get("HISTORY_KILLS", "20"))

assert TIME.history is not None and HEAP.history is not None
_TIME, _HEAP = TIME.history, HEAP.history

# -- noise ---------------------------------------------------------------------------------------

Noise = Callable[[random.Random, int], list[float]]


def _normal(chance: random.Random, count: int) -> list[float]:
    return [chance.gauss(0, 1) for _ in range(count)]


def _heavy(chance: random.Random, count: int) -> list[float]:
    """Student's t with 3 degrees of freedom."""
    return [chance.gauss(0, 1) / (chance.gammavariate(1.5, 2) / 3) ** 0.5 for _ in range(count)]


def _outliers(chance: random.Random, count: int) -> list[float]:
    """One run in twenty on a host that is busy with something else."""
    return [chance.gauss(0, 1) + (abs(chance.gauss(0, 8)) if chance.random() < 0.05 else 0) for _ in range(count)]


def _sluggish(chance: random.Random, count: int) -> list[float]:
    """Each night half like the one before (autocorrelation 0.5), as the temperature of a room is."""
    values, last = [], 0.0
    for _ in range(count):
        last = 0.5 * last + chance.gauss(0, 0.75**0.5)
        values.append(last)
    return values


_NOISES: dict[str, Noise] = {
    "normal noise": _normal,
    "heavy tails": _heavy,
    "outliers": _outliers,
    "autocorrelated": _sluggish,
}


def _rates(figures: dict[str, float], count: int = 1000) -> None:
    """False alarms in a year of one figure, which nothing happens to; its scatter is 1 % of it."""
    for name, noise in _NOISES.items():
        chance = random.Random(f"rates {name}")
        alarms = 0
        for _ in range(count):
            points = [Point(1000 * (1 + 0.01 * n)) for n in noise(chance, _NIGHTS)]
            alarms += len(find_steps(points, _TIME).steps)
        figures[f"false alarms, {name}: per 1000 figures and year"] = 1000 * alarms / count
    for share in (0.01, 0.03, 0.1):
        chance = random.Random(f"blips {share}")
        alarms = 0
        for _ in range(count):
            points = [Point(8112 - 96 * (chance.random() < share)) for _ in range(_NIGHTS)]
            alarms += sum(step.confirmed for step in find_steps(points, _HEAP).steps)
        label = f"false alarms, heap that differs in {100 * share:g} % of the nights: per 1000 figures and year"
        figures[label] = 1000 * alarms / count


def _power(figures: dict[str, float], count: int = 300) -> None:
    """How many steps of a size (in scatters of 1 %) are found within 30 nights, how soon, and how well dated."""
    for size in (2, 3, 5, 10):
        chance = random.Random(f"power {size}")
        delays, exact, near = [], 0, 0
        for _ in range(count):
            noise = _normal(chance, 120)
            points = [Point(1000 * (1 + 0.01 * (n + size * (i >= 90)))) for i, n in enumerate(noise)]
            steps = [s for s in find_steps(points, _TIME).steps if s.told >= 90]
            if steps:
                delays.append(steps[0].told - 89)
                exact += steps[0].first == 90
                near += abs(steps[0].first - 90) <= 2
        label = f"step of {size} % in noise of 1 %"
        figures[f"{label}: found within 30 nights %"] = 100 * len(delays) / count
        figures[f"{label}: nights until told, median"] = statistics.median(delays) if delays else float("nan")
        figures[f"{label}: first run named exactly, of those found %"] = 100 * exact / max(1, len(delays))
        figures[f"{label}: first run named to within 2 runs, of those found %"] = 100 * near / max(1, len(delays))


# -- a year --------------------------------------------------------------------------------------


def _year(figures: dict[str, float]) -> None:
    """20 boards, 80 figures each, through a store; steps in some of them, and one night in fifty without power."""
    chance = random.Random("year")
    truth: dict[tuple[str, str], tuple[int, float]] = {}
    with tempfile.TemporaryDirectory(prefix="vm-harness-") as folder:
        store = Store(Path(folder) / "year.sqlite")
        runs = _write_year(store, chance, truth)
        found, alarms, delays, named = dict.fromkeys(("time", "heap"), 0), {"time": 0, "heap": 0}, [], 0
        started = time.perf_counter()
        for board in (f"board{n:02}" for n in range(_BOARDS)):
            for history in histories(store, board):
                steps = [s for s in history.judge().steps if s.confirmed]
                night, _size = truth.get((board, history.name), (None, 0.0))
                for step in steps:
                    first = runs.index(history.entries[step.first].run)
                    if night is not None and -3 <= first - night <= 30:
                        found[history.kind] += 1
                        delays.append(runs.index(history.entries[step.told].run) - night + 1)
                        night_of_board = next(i for i, r in enumerate(runs) if i >= night and _has(history, r))
                        named += first == night_of_board
                        night = None
                    else:
                        alarms[history.kind] += 1
        seconds = time.perf_counter() - started
        store.close()
    for kind in ("heap", "time"):
        injected = sum(name.startswith(kind) for _, name in truth)
        figures[f"year: {kind} steps injected"] = injected
        figures[f"year: {kind} steps found"] = found[kind]
        figures[f"year: {kind} false alarms"] = alarms[kind]
    figures["year: nights until told, median"] = statistics.median(delays)
    figures["year: nights until told, most"] = max(delays)
    figures["year: first bad run named exactly, of those found %"] = 100 * named / len(delays)
    figures[f"year: all {_BOARDS * (_TIMES + _EXACT)} histories judged: seconds"] = seconds


def _has(history: History, run: int) -> bool:
    return any(entry.run == run for entry in history.entries)


def _write_year(store: Store, chance: random.Random, truth: dict[tuple[str, str], tuple[int, float]]) -> list[int]:
    """Through the schema, in one transaction: the year is the subject, not the speed of writing it."""
    noises = list(_NOISES.values())
    values: dict[tuple[str, str], list[float]] = {}
    for number in range(_BOARDS):
        board = f"board{number:02}"
        for index in range(_TIMES):
            name, middle, scatter = f"time{index:02}", chance.uniform(100, 1e6), chance.uniform(0.001, 0.02)
            noise = chance.choice(noises)(chance, _NIGHTS)
            step = (chance.randrange(30, 330), chance.choice((-1, 1)) * chance.uniform(0.04, 0.3))
            if chance.random() < 0.1:
                truth[board, name] = step
            night, size = truth.get((board, name), (0, 0.0))
            values[board, name] = [middle * (1 + scatter * n) * (1 + size * (i >= night)) for i, n in enumerate(noise)]
        for index in range(_EXACT):
            name, middle = f"heap{index:02}", 16 * chance.randrange(1, 4000)
            blips = 0.02 if index < 5 else 0.0
            if chance.random() < 0.06:
                truth[board, name] = (chance.randrange(10, 350), 16 * chance.choice((-1, 1, 1, 2, 8)))
            night, size = truth.get((board, name), (0, 0.0))
            values[board, name] = [
                middle + size * (i >= night) + 96 * (chance.random() < blips) for i in range(_NIGHTS)
            ]
    return _store_nights(Path(store.name), values, chance)


def _insert(db: sqlite3.Connection, table: str, *row: object) -> None:
    db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)


def _store_nights(path: Path, values: dict[tuple[str, str], list[float]], chance: random.Random) -> list[int]:
    db = sqlite3.connect(path)
    limit = limit_row("within 25 %", "")
    _insert(db, "limit_applied", limit["id"], limit["words"], limit["rule"], "null")
    series = {}
    for board, name in values:
        kind = "heap" if name.startswith("heap") else "time"
        row = series_row(board, "suite", "scenario", name, kind, "B" if kind == "heap" else "us")
        series[board, name] = row["id"]
        db.execute("INSERT INTO series VALUES (?, ?, ?, ?, ?, ?, ?)", tuple(row.values()))
    runs, scenario = [], 0
    for night in range(_NIGHTS):
        started = _FIRST_NIGHT + 86400 * night
        run = db.execute(
            "INSERT INTO run (uid, started, finished, command, environment) VALUES (?, ?, ?, 'nightly', '{}')",
            (f"{night}", started, started + 600),
        ).lastrowid
        runs.append(int(run or 0))
        for number in range(_BOARDS):
            board = f"board{number:02}"
            if chance.random() < 0.02:
                continue
            scenario += 1
            _insert(db, "board", run, board, number, "esp32", "fw.bin", f"v1.{night}", f"{night:064x}", "fw", "", "{}")
            _insert(db, "scenario", scenario, run, board, 0, "suite", "scenario", "pass", "", started, 1.0, "")
            names = [name for owner, name in values if owner == board]
            db.executemany(
                "INSERT INTO measurement VALUES (?, ?, ?, ?, 'null', ?, 'pass', '[]', '')",
                [
                    (series[board, name], scenario, place, repr(values[board, name][night]), limit["id"])
                    for place, name in enumerate(names)
                ],
            )
    db.commit()
    db.close()
    return runs


# -- many rows -----------------------------------------------------------------------------------


def _queries(figures: dict[str, float]) -> None:
    """One history out of a store of ``HISTORY_ROWS`` measurements: 20 boards with 80 figures, night after night."""
    nights = max(1, _ROWS // (_BOARDS * (_TIMES + _EXACT)))
    chance = random.Random("rows")
    with tempfile.TemporaryDirectory(prefix="vm-harness-", dir=os.environ.get("HISTORY_FOLDER")) as folder:
        path = Path(folder) / "many.sqlite"
        Store(path).close()
        started = time.perf_counter()
        _fill(path, nights, chance)
        figures[f"store of {_ROWS:,} measurements: filled, rows per second"] = _ROWS / (time.perf_counter() - started)
        figures[f"store of {_ROWS:,} measurements: size MB"] = path.stat().st_size / 1e6
        seconds, judged = [], []
        for _ in range(20):
            board, name = f"board{chance.randrange(_BOARDS):02}", f"time{chance.randrange(_TIMES):02}"
            store = Store(path)  # each in a store just opened, as a command has it
            started = time.perf_counter()
            (history,) = histories(store, board, name)
            seconds.append(time.perf_counter() - started)
            assert len(history.entries) == nights
            history.judge()
            judged.append(time.perf_counter() - started)
            store.close()
    label = f"one history of {nights:,} nights out of {_ROWS:,}"
    figures[f"{label}: read, median ms"] = 1e3 * statistics.median(seconds)
    figures[f"{label}: read, slowest of 20 ms"] = 1e3 * max(seconds)
    figures[f"{label}: read and judged, median ms"] = 1e3 * statistics.median(judged)


def _fill(path: Path, nights: int, chance: random.Random) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA synchronous=OFF")
    db.execute("PRAGMA cache_size=-400000")
    db.execute("BEGIN")
    limit = limit_row("within 25 %", "")
    _insert(db, "limit_applied", limit["id"], limit["words"], limit["rule"], "null")
    names = [(f"time{n:02}", "time") for n in range(_TIMES)] + [(f"heap{n:02}", "heap") for n in range(_EXACT)]
    series: dict[int, list[int]] = {}
    for number in range(_BOARDS):
        for name, kind in names:
            row = series_row(f"board{number:02}", "suite", "scenario", name, kind, "us")
            series.setdefault(number, []).append(row["id"])
            db.execute("INSERT INTO series VALUES (?, ?, ?, ?, ?, ?, ?)", tuple(row.values()))
    for night in range(nights):
        started = _FIRST_NIGHT + 3600 * night
        db.execute("INSERT INTO run VALUES (?, ?, ?, ?, 'nightly', '{}')", (night + 1, f"{night}", started, started))
        for number in range(_BOARDS):
            board, scenario = f"board{number:02}", night * _BOARDS + number + 1
            db.execute(
                "INSERT INTO board VALUES (?, ?, ?, 'esp32', 'fw.bin', ?, ?, 'fw', '', '{}')",
                (night + 1, board, number, f"v1.{night}", f"{night:064x}"),
            )
            db.execute(
                "INSERT INTO scenario VALUES (?, ?, ?, 0, 'suite', 'scenario', 'pass', '', ?, 1.0, '')",
                (scenario, night + 1, board, started),
            )
            db.executemany(
                "INSERT INTO measurement VALUES (?, ?, ?, ?, '1000.0', ?, 'pass', ?, '')",
                [
                    (key, scenario, place, f"{chance.gauss(1000, 10):.1f}", limit["id"], "[998, 1001, 1003, 1000, 999]")
                    for place, key in enumerate(series[number])
                ],
            )
    db.execute("COMMIT")
    db.close()


# -- kill -9 -------------------------------------------------------------------------------------

_WRITER = """
import sys
from harness.results.store import Store
from benchmarks.history import write_endlessly
write_endlessly(sys.argv[1])
"""


def write_endlessly(path: str) -> None:
    """A run without end: prints the number of each scenario once the store has it."""
    store = Store(Path(path))
    run = store.start_run("killed", environment={})
    store.record_board(run, BoardRecord("b", "esp32", FirmwareRecord("fw", "1", "")))
    figures = tuple(Measurement(f"m{i}", "heap", "B", i, i, "", Outcome.PASS) for i in range(20))
    number = 0
    while True:
        store.record_scenario(run, "b", ScenarioResult("s", f"n{number}", Outcome.PASS, "", figures))
        print(number, flush=True)
        number += 1


def _kills(figures: dict[str, float]) -> None:
    """SIGKILL at seeded moments: what had been reported and is not in the store, stores that stay locked."""
    chance = random.Random("kills")
    lost = halves = locked = reported = 0
    with tempfile.TemporaryDirectory(prefix="vm-harness-") as folder:
        path = Path(folder) / "killed.sqlite"
        for _ in range(_KILLS):
            with subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                first = process.stdout.readline()
                time.sleep(chance.uniform(0, 0.25))
                process.send_signal(signal.SIGKILL)
                lines = [first, *process.stdout.read().split(b"\n")[:-1]]
            store = Store(path)
            scenarios = store.latest().boards[0].scenarios
            reported += len(lines)
            lost += max(0, len(lines) - len(scenarios))
            halves += sum(len(s.measurements) != 20 for s in scenarios)
            started = time.perf_counter()
            store.finish_run(store.latest().id)
            locked += time.perf_counter() - started > 5
            store.close()
        db = sqlite3.connect(path)
        damaged = db.execute("PRAGMA integrity_check").fetchone() != ("ok",)
        db.close()
    figures["writers killed by SIGKILL"] = _KILLS
    figures["killed writers: scenarios reported as stored"] = reported
    figures["killed writers: of those not in the store"] = lost
    figures["killed writers: scenarios half there"] = halves
    figures["killed writers: stores damaged or locked afterwards"] = locked + damaged


def main() -> dict[str, float]:
    """Figures by name; the unit is the last word of each name where it is no count."""
    figures: dict[str, float] = {}
    for part in (_rates, _power, _year, _queries, _kills):
        part(figures)
    return figures


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name:95} {value:14.2f}")
