"""Debian's ser2net, which labgrid's exporters put before a board, with a virtual board on the other side."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.link.ports import no_reset_lines, open_port
from tests.labgrid.real_lab import free_port, until
from tests.running_boards import programmed_board

pytestmark = pytest.mark.skipif(shutil.which("ser2net") is None, reason="ser2net is not there (Debian: ser2net)")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, firmware_files: dict[str, Path]) -> Iterator[str]:
    """Where ser2net serves the board's pseudo-terminal, which has no modem lines."""
    folder = tmp_path_factory.mktemp("ser2net")
    with programmed_board("esp32", folder / "board", firmware_files["esp32"]) as board:
        port = free_port()
        settings = folder / "ser2net.yaml"
        accepter = f"telnet(rfc2217),tcp,127.0.0.1,{port}"
        settings.write_text(
            f"%YAML 1.1\n---\nconnection: &board\n  accepter: {accepter}\n"
            f"  connector: serialdev,{board.pty},115200n81,local\n"
        )
        with subprocess.Popen(
            ["ser2net", "-d", "-c", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as server:

            def listens() -> bool:
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", port)) == 0

            try:
                until(listens, 30, "ser2net listens")
                yield f"rfc2217://127.0.0.1:{port}"
            finally:
                server.terminate()


def test_it_says_nothing_of_lines_that_are_not_there(address: str) -> None:
    port = open_port(address)
    try:
        assert "answers no change of them" in no_reset_lines(port)
        port.baudrate = 57600  # which it does answer
        port.baudrate = 115200
    finally:
        port.close()


def test_a_board_behind_it_is_judged_as_any(address: str, tmp_path: Path) -> None:
    entry = f"{{id: far, chip: esp32, runtime: micropython, identity: {{url: '{address}'}}}}"
    (tmp_path / "boards.yaml").write_text(f"boards:\n  - {entry}\n")
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", "reload", "--no-flash", "-k", "files or globals or leak"],
        cwd=tmp_path, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failed, 0 errors" in done.stdout
