"""A lab's store on PostgreSQL: 10 million measurements and more, the questions that pages and commands ask of it.

``python -m benchmarks lab_store=10000000``. The server is started for it, on a socket, with fsync off and its defaults
otherwise. Two stores of so many measurements:

- ``deep``: 20 boards, 80 figures each, as many nights as it takes (the shape of ``history``, which measures SQLite);
- ``wide``: 200 boards on 20 hosts; a night is a run of each host, 60 scenarios and 300 figures of each board.

Rows are made by the server itself, indices afterwards. Each question is asked in a store just opened, as a command has
it; the least time is what the question takes on this host, the median what it took beside what else the host did.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, text

from harness.results.exchange import counts
from harness.results.prune import old_runs
from harness.results.series import figure_histories, histories, newest_run, recent_histories
from harness.results.store import Store
from harness.results.store_schema import limit_row, series_row
from harness.serving import pages
from harness.serving.app import Served
from tests.results.postgresql_server import Server, running_server

_FIRST_NIGHT = 1_735_689_600.0  # 2025-01-01
_TRIES = 10
_FIVE_YEARS = 1826
#: About as long as that of a run.
_ENVIRONMENT = json.dumps({f"package {number}": "1.2.3" for number in range(20)} | {"suite suite7": "0123456789ab"})


def main(rows: int = 1_000_000) -> dict[str, float]:
    figures: dict[str, float] = {"processes that run or wait (load of a minute), before": os.getloadavg()[0]}
    with running_server() as server:
        _deep(server, rows, figures)
        _wide(server, rows, figures)
    figures["the same, after"] = os.getloadavg()[0]
    return figures


def _fill(store: Store, nights: int, hosts: int, boards: int, scenarios: int, of_each: int) -> None:
    """``of_each`` figures in each scenario; ``boards`` on each of ``hosts``, whose runs are a night.

    In the order in which nights would bring them; the indices and the checks of foreign keys come afterwards.
    """
    limit = limit_row("within 25 %", "")
    with store.database.writing() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))  # no trigger a row for foreign keys
        connection.execute(text("SET LOCAL maintenance_work_mem = '512MB'"))
        connection.execute(text("INSERT INTO limit_applied VALUES (:id, :words, :rule, 'null')"), limit)
        connection.execute(text("CREATE TEMPORARY TABLE figure (board text, scenario int, place int, id bigint)"))
        _figures(connection, hosts * boards, scenarios, of_each)
        connection.execute(
            text(
                "INSERT INTO run SELECT n * :hosts + h + 1, md5(n || '.' || h), :first + 86400.0 * n + h, "
                ":first + 86400.0 * n + h + 3000, 'harness nightly', :environment "
                "FROM generate_series(0, :nights - 1) n, generate_series(0, :hosts - 1) h"
            ),
            {"hosts": hosts, "nights": nights, "first": _FIRST_NIGHT, "environment": _ENVIRONMENT},
        )
        connection.execute(
            text(
                "INSERT INTO board SELECT r.id, 'board' || lpad(b::text, 3, '0'), b, 'esp32', 'fw.bin', "
                "'v1.' || r.id, md5(r.id::text), 'fw', '', '{}' FROM run r, "
                "generate_series(((r.id - 1) % :hosts) * :boards, ((r.id - 1) % :hosts) * :boards + :boards - 1) b"
            ),
            {"hosts": hosts, "boards": boards},
        )
        indices = _taken_away(connection, "scenario_by_name", "measurement_of_scenario")
        connection.execute(text("ALTER TABLE measurement DROP CONSTRAINT measurement_pkey"))
        connection.execute(
            text(
                "INSERT INTO scenario SELECT row_number() over (), b.run, b.id, s, 'suite' || s / 10, 'scenario' || s, "
                "CASE WHEN random() < 0.01 THEN 'fail' ELSE 'pass' END, '', r.started + 30 * s, 30.0, "
                "'transcripts/run-' || b.run || '/' || b.id || '.jsonl#1000-2000' "
                "FROM board b JOIN run r ON r.id = b.run, generate_series(0, :scenarios - 1) s ORDER BY b.run, b.id, s"
            ),
            {"scenarios": scenarios},
        )
        connection.execute(text("ANALYZE scenario"))
        connection.execute(
            text(
                "INSERT INTO measurement SELECT f.id, s.id, f.place, (1000 + 10 * random())::text, '1000.0', :limit, "
                "'pass', '[998, 1001, 1003, 1000, 999]', '' FROM scenario s "
                "JOIN figure f ON f.board = s.board AND f.scenario = s.position ORDER BY s.id, f.place"
            ),
            {"limit": limit["id"]},
        )
        connection.execute(text("DROP TABLE figure"))
        connection.execute(text("ALTER TABLE measurement ADD PRIMARY KEY (series, scenario, position)"))
        for index in indices:
            connection.execute(text(index))
        for table in ("run", "scenario"):
            connection.execute(text(f"SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table}))"))
    with store.database.reading() as connection:  # as the server does it by itself in the course of the nights
        driver: Any = connection.connection.driver_connection
        driver.rollback()
        driver.autocommit = True
        driver.execute("VACUUM ANALYZE")
        driver.autocommit = False


def _figures(connection: Connection, boards: int, scenarios: int, of_each: int) -> None:
    """The series, and beside them the table by which measurements find theirs."""
    rows = [
        ({**series_row(f"board{board:03}", f"suite{scenario // 10}", f"scenario{scenario}", f"f{scenario}_{place}",
                       "time", "us")}, scenario, place)
        for board in range(boards)
        for scenario in range(scenarios)
        for place in range(of_each)
    ]  # fmt: skip
    cursor: Any = connection.connection.cursor()
    with cursor.copy("COPY series (id, board, suite, scenario, name, kind, unit) FROM STDIN") as copy:
        for row, _, _ in rows:
            copy.write_row(tuple(row.values()))
    with cursor.copy("COPY figure FROM STDIN") as copy:
        for row, scenario, place in rows:
            copy.write_row((row["board"], scenario, place, row["id"]))
    cursor.close()


def _taken_away(connection: Connection, *indices: str) -> list[str]:
    """Drops them, and says by what statements they come back."""
    made = "SELECT indexdef FROM pg_indexes WHERE indexname = :name"
    statements = [str(connection.execute(text(made), {"name": name}).scalar_one()) for name in indices]
    for name in indices:
        connection.execute(text(f"DROP INDEX {name}"))
    return statements


def _sizes(store: Store, figures: dict[str, float], nights: int) -> None:
    """Rows and bytes of each table with its indices, and what they come to in five years of such nights."""
    tables = ("run", "board", "scenario", "series", "measurement")
    with store.database.reading() as connection:
        for table in tables:
            rows = float(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())
            size = float(connection.execute(text(f"SELECT pg_total_relation_size('{table}')")).scalar_one())
            grows = 1.0 if table == "series" else _FIVE_YEARS / nights
            figures[f"{table}: rows"] = rows
            figures[f"{table}: bytes a row, with its indices"] = size / rows
            figures[f"{table}: rows in five years, reckoned"] = rows * grows
            figures[f"{table}: GB in five years, reckoned"] = size * grows / 1e9


def _size(store: Store) -> float:
    with store.database.reading() as connection:
        return float(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())


def _ask(url: str, question: Callable[[Store], object]) -> tuple[float, float, float]:
    """Milliseconds: the least, the median, and the least of this process's CPU time."""
    taken, cpu = [], []
    for _ in range(_TRIES):
        store = Store(url)
        started, used = time.perf_counter(), time.process_time()
        question(store)
        taken.append(1e3 * (time.perf_counter() - started))
        cpu.append(1e3 * (time.process_time() - used))
        store.close()
    return min(taken), statistics.median(taken), min(cpu)


def _measure(figures: dict[str, float], label: str, url: str, questions: dict[str, Callable[[Store], object]]) -> None:
    for name, question in questions.items():
        least, median, cpu = _ask(url, question)
        figures[f"{label}: {name}: least ms"] = least
        figures[f"{label}: {name}: median of {_TRIES} ms"] = median
        figures[f"{label}: {name}: of the least, CPU of this process ms"] = cpu


def _filled(server: Server, name: str, figures: dict[str, float], rows: int, *shape: int) -> str:
    url = server.database(name)
    store = Store(url)
    started = time.perf_counter()
    _fill(store, *shape)
    figures[f"{name}: measurements"] = counts(store)["measurement"]
    figures[f"{name}: filled, s"] = time.perf_counter() - started
    figures[f"{name}: bytes of the database for each measurement"] = _size(store) / figures[f"{name}: measurements"]
    store.close()
    assert figures[f"{name}: measurements"] > rows / 2
    return url


def _deep(server: Server, rows: int, figures: dict[str, float]) -> None:
    nights = max(1, rows // 1600)
    url = _filled(server, "deep", figures, rows, nights, 1, 20, 1, 80)

    def history(store: Store) -> None:
        (found,) = histories(store, "board007", "f0_33")
        assert len(found.entries) == nights

    _measure(figures, f"deep, one history of {nights:,} nights", url, {"read": history})


def _wide(server: Server, rows: int, figures: dict[str, float]) -> None:
    nights = max(2, rows // 60_000)
    url = _filled(server, "wide", figures, rows, nights, 20, 10, 60, 5)
    figures["wide: nights"] = nights
    store = Store(url)
    _sizes(store, figures, nights)
    store.close()

    def one_run(store: Store) -> None:
        assert len(store.load_run(store.runs(1)[0]).boards) == 10

    def a_figure_over_all(store: Store) -> None:
        since = newest_run(store) - 86_400 * 30
        assert len(figure_histories(store, "suite0", "scenario7", "f7_3", since=since)) == 200

    served = Served(server.folder / "boards.yaml", server.folder / "state", url, server.folder)
    questions: dict[str, Callable[[Store], object]] = {
        "one figure of one board": lambda store: histories(store, "board123", "f7_3"),
        "all figures of a board over 30 runs": lambda store: recent_histories(store, "board123", 30),
        "a figure over all 200 boards, a month": a_figure_over_all,
        "the newest run, whole": one_run,
        "page of the bench, 60 runs": lambda store: pages.bench_page(served),
        "page of a run": lambda store: pages.run_page(served, store, store.runs(1)[0]),
        "page of a board": lambda store: pages.board_page(served, store, "board123"),
        "page of a figure": lambda store: pages.figure_page(served, store, "suite0/scenario7/f7_3"),
        "all histories of a board, judged": lambda store: [h.judge() for h in histories(store, "board123")],
        "what prune would take": lambda store: old_runs(store, _FIRST_NIGHT + 86400 * nights / 2, 10),
    }
    _measure(figures, "wide", url, questions)
