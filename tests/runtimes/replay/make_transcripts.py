"""Makes the transcripts beside it, on virtual boards with a fault each.

``python -m tests.runtimes.replay.make_transcripts`` makes all, or those named.

Needed again when what the harness sends changes on purpose.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from harness.bench.attach import Options, attach
from harness.errors import HarnessError
from harness.inventory.load import load_bench

HERE = Path(__file__).parent
BENCH = """
boards:
  - id: board
    chip: {chip}
    runtime: {runtime}
    virtual: {{pace: fast}}
    firmware: {{build: virtual}}
"""
PROGRAMS = {
    "micropython": "for i in range(40): print('line', i)\n",
    "nodemcu": "for i = 1, 40 do print('line', i) end\n",
}
#: Name of the transcript: chip, fault.
CASES = {
    "reset_while_running": ("esp32", {"kind": "reset-running", "after": 100}),
    "lost_end_of_output": ("esp8266", {"kind": "drop", "rate": 1.0, "after": 362, "count": 1, "direction": "to-host"}),
    "program_damaged_on_its_way": (
        "esp32",
        {"kind": "drop", "rate": 1.0, "after": 10, "count": 1, "direction": "to-board"},
    ),
    "hung_until_reset": ("esp8266", {"kind": "hang", "after": 100}),
    "port_vanished": ("esp32", {"kind": "vanish", "after": 100, "seconds": 0.3}),
    "lua_line_damaged": ("nodemcu", {"kind": "drop", "rate": 1.0, "after": 100, "count": 1, "direction": "to-board"}),
    "lua_end_lost": (
        "nodemcu",
        {"kind": "drop", "rate": 1.0, "after": 570, "count": 4, "direction": "to-host"},
    ),
    "lua_reset_while_running": ("nodemcu", {"kind": "reset-running", "after": 500}),
}


def main() -> None:
    for name, (chip, fault) in CASES.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        runtime = "nodemcu" if chip == "nodemcu" else "micropython"
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "boards.yaml"
            file.write_text(BENCH.format(chip=chip.replace("nodemcu", "esp8266"), runtime=runtime))
            (board,) = load_bench(file).boards
            attached = attach(board, Options(Path(folder)), lambda *_: None)
            try:
                assert attached.device.injector is not None
                attached.device.injector.fault(**fault)
                try:
                    attached.runtime.run(PROGRAMS[runtime], timeout=1.0)
                except HarnessError as problem:
                    print(f"{name}: {type(problem).__name__}: {problem.message[:200]}")
                print(f"{name}: back by {attached.recover(name)}")
                attached.runtime.run("print('well')")
            finally:
                attached.close()
            shutil.copy(Path(folder) / "transcripts" / "board.jsonl", HERE / f"{name}.jsonl")


if __name__ == "__main__":
    main()
