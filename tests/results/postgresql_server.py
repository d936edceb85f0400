"""A PostgreSQL server of our own, for tests: on a socket in its folder only, stopped and started as a test likes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Server:
    """``url`` has a %s for the database's name."""

    def __init__(self, folder: Path, programs: Path, become: list[str]) -> None:
        self.folder = folder
        self.url = f"postgresql://harness@/%s?host={folder}"
        self._programs = programs
        self._become = become

    def command(self, *arguments: str) -> list[str]:
        """What a shell would be given to do the same."""
        return [*self._become, str(self._programs / arguments[0]), *arguments[1:]]

    def run(self, *arguments: str) -> None:
        subprocess.run(self.command(*arguments), check=True, stdout=subprocess.DEVNULL, cwd="/")

    @property
    def begin(self) -> list[str]:
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off"
        return ["pg_ctl", "-D", str(self.folder / "data"), "-o", options, "-l", str(self.folder / "log"), "-w", "start"]

    @property
    def end(self) -> list[str]:
        return ["pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop"]

    def start(self) -> None:
        self.run(*self.begin)

    def stop(self) -> None:
        """At once, as a crash: what is connected loses its connection."""
        self.run(*self.end)

    def database(self, name: str) -> str:
        """The URL of an empty database of this name."""
        import psycopg

        with psycopg.connect(self.url % "postgres", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name}")
            connection.execute(f"CREATE DATABASE {name}")
        return self.url % name


def _programs() -> Path | None:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("initdb")
    return next((f for f in folders if (f / "initdb").exists()), Path(found).parent if found else None)


@contextmanager
def running_server() -> Iterator[Server]:
    """Skips the test where PostgreSQL is not installed."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="vm-harness-pg-", dir="/tmp"))  # a socket's path has about 100 characters
    become: list[str] = []
    if os.getuid() == 0:  # the server refuses to run as root
        shutil.chown(folder, "postgres")
        become = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    server = Server(folder, programs, become)
    try:
        server.run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "harness", "-E", "UTF8")
        server.start()
        yield server
    finally:
        subprocess.run(
            server.command(*server.end), check=False, stdout=subprocess.DEVNULL, cwd="/", stderr=subprocess.DEVNULL
        )
        shutil.rmtree(folder, ignore_errors=True)
