"""Running programs and uploading: through the harness and with mpremote, on the same port."""

from __future__ import annotations

import random
import subprocess
import sys

from benchmarks._boards import seconds, virtual_esp32
from harness.link.ports import open_port
from harness.link.session import Session
from harness.runtimes.micropython.micropython_board import MicroPythonBoard
from harness.runtimes.program import Program


def main() -> dict[str, float]:
    with virtual_esp32() as (board, _):
        assert board.pty
        mpremote = [sys.executable, "-m", "mpremote", "connect", board.pty, "exec", "print(1 + 1)"]
        whole_mpremote = seconds(lambda: subprocess.run(mpremote, check=True, capture_output=True), 7)
        in_process = _mpremote_in_process(board.pty)
        port = open_port(board.pty)
        session = Session(port)
        runtime = MicroPythonBoard(session)
        runtime.enter()
        ours = seconds(lambda: runtime.run("print(1 + 1)"), 101)

        def traffic() -> int:
            return sum(len(e.data) for e in session.transcript.entries if e.kind != "note")

        payload = 100_000
        source = "#" * (payload - 1) + "\n"
        session.transcript._entries.clear()
        upload = seconds(lambda: runtime.run(source), 1)
        program_ratio = traffic() / payload
        data = random.Random(1).randbytes(payload)
        session.transcript._entries.clear()
        put = seconds(lambda: runtime.put("/bench.bin", data), 1)
        file_ratio = traffic() / payload
        usual, proved = _price_of_proof(runtime)
        runtime.close()
    return {
        "round trip, harness (ms)": ours * 1000,
        "round trip of a suite's program (ms)": usual * 1000,
        "the same, which proves that it arrived (ms)": proved * 1000,
        "price of the proof (%)": (proved / usual - 1) * 100,
        "round trip, mpremote's library (ms)": in_process * 1000,
        "round trip, mpremote command (ms)": whole_mpremote * 1000,
        "mpremote's library / harness": in_process / ours,
        "mpremote command / harness": whole_mpremote / ours,
        "bytes on the wire per byte, 100 kB program": program_ratio,
        "bytes on the wire per byte, 100 kB file": file_ratio,
        "upload of a 100 kB program (s)": upload,
        "upload of a 100 kB file (s)": put,
    }


def _price_of_proof(runtime: MicroPythonBoard) -> tuple[float, float]:
    """Seconds that a small program of the suites takes with its agent, as it is and proved: the least of many, taken in
    turn, for all that else happens on the machine only adds."""
    program = Program.load("allocations")
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(61):
        for proves in times:
            runtime.verify_programs(proves)
            times[proves].append(seconds(lambda: program.run(runtime), 1))
    runtime.verify_programs(False)
    return min(times[False]), min(times[True])


def _mpremote_in_process(port: str) -> float:
    """mpremote without the start of its interpreter: its transport stays in the raw REPL."""
    from mpremote.transport_serial import SerialTransport

    transport = SerialTransport(port)
    transport.enter_raw_repl()
    result = seconds(lambda: transport.exec("print(1 + 1)"), 51)
    transport.exit_raw_repl()
    transport.close()
    return result
