"""Makes the transcripts beside it, on virtual boards with a fault each: ``python -m tests.replay.make_transcripts``.

Needed again when what the harness sends changes on purpose.
"""

from __future__ import annotations

import contextlib
import shutil
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
    runtime: micropython
    virtual: {{pace: fast}}
    firmware: {{build: virtual}}
"""
PROGRAM = "for i in range(40): print('line', i)\n"
#: Name of the transcript: chip, fault.
CASES = {
    "reset_while_running": ("esp32", {"kind": "reset-running", "after": 100}),
    "lost_end_of_output": ("esp8266", {"kind": "drop", "rate": 1.0, "after": 356, "count": 1, "direction": "to-host"}),
    "program_damaged_on_its_way": (
        "esp32",
        {"kind": "drop", "rate": 1.0, "after": 10, "count": 1, "direction": "to-board"},
    ),
    "hung_until_reset": ("esp8266", {"kind": "hang", "after": 100}),
    "port_vanished": ("esp32", {"kind": "vanish", "after": 100, "seconds": 0.3}),
}


def main() -> None:
    for name, (chip, fault) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "boards.yaml"
            file.write_text(BENCH.format(chip=chip))
            (board,) = load_bench(file).boards
            attached = attach(board, Options(Path(folder)), lambda *_: None)
            try:
                assert attached.virtual is not None
                attached.virtual.fault(**fault)
                with contextlib.suppress(HarnessError):
                    attached.runtime.run(PROGRAM, timeout=1.0)
                print(f"{name}: back by {attached.recover(name)}")
                attached.runtime.run("print('well')")
            finally:
                attached.close()
            shutil.copy(Path(folder) / "transcripts" / "board.jsonl", HERE / f"{name}.jsonl")


if __name__ == "__main__":
    main()
