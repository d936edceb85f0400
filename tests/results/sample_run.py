"""A run with everything in it that a report must show, some of it hostile."""

from __future__ import annotations

from harness.bench.firmware_record import FirmwareRecord
from harness.judging.compare import Measurement
from harness.judging.outcome import Outcome
from harness.results.run_record import BoardRecord, RunRecord, ScenarioResult

#: What a malicious or broken board could have printed: a terminal escape, markup of rich and HTML, NUL, a C1
#: control, a right-to-left override, a lone surrogate, XML's end of CDATA.
HOSTILE = "\x1b[31mred\x1b]0;title\x07 [bold]x[/] <script>alert(1)</script> &amp; \x00\x9b\u202e\ud800 ]]> \"'"

HEAP = Measurement("x.allocated", "heap", "B", 48, 48, "exactly 48 B", Outcome.PASS, "equal to the byte", (48,))
TIME = Measurement("x.time", "time", "us", 160.5, 120.0, "within 25 % of 120 µs", Outcome.MARGINAL, "by calibration")
LEAK = Measurement("reload.leak", "heap", "B", 64, 0, "less than one block", Outcome.FAIL)
STATE = Measurement("s", "state", "-", HOSTILE, None, f"exactly {HOSTILE}", Outcome.FAIL)
FIRMWARE = FirmwareRecord("micropython", "v1.27.0", "ab" * 32)


def sample(*, finished: float = 131.2) -> RunRecord:
    first = BoardRecord(
        "vesp32",
        "esp32",
        FIRMWARE,
        (
            ScenarioResult("flash_execution", "from_source", Outcome.PASS, "", (HEAP,), 0.5, 100.0),
            ScenarioResult("flash_execution", "from_mpy", Outcome.MARGINAL, "x.time is near", (HEAP, TIME), 0.5, 101.0),
            ScenarioResult("reload", "leaks", Outcome.FAIL, "reload.leak is 64 B", (LEAK,), 1.5, 102.0),
            ScenarioResult("reload", "files", Outcome.ERROR, "the port vanished", (), 0.5, 103.0),
            ScenarioResult("deep_sleep", "wakes", Outcome.SKIPPED, "vesp32 has no deep_sleep", (), 0.0, 104.0),
        ),
    )
    second = BoardRecord(
        "hostile",
        "esp8266",
        FirmwareRecord(HOSTILE, HOSTILE, ""),
        (ScenarioResult("reload", HOSTILE, Outcome.FAIL, HOSTILE, (STATE,), 0.25, 105.0),),
        problem=f"boot text: {HOSTILE}",
    )
    return RunRecord(7, 100.0, finished, "harness run", (first, second))


def healthy() -> RunRecord:
    results = tuple(ScenarioResult("s", f"n{i}", Outcome.PASS, "", (HEAP,), 0.1, 100.0) for i in range(2))
    return RunRecord(8, 100.0, 101.0, "harness run", (BoardRecord("b", "esp32", FIRMWARE, results),))
