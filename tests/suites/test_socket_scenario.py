"""The scenario that waits for datagrams: what it finds out, and why it is skipped where it cannot be asked."""

from __future__ import annotations

from typing import Any

import pytest

from harness.judging.outcome import Outcome
from harness.runtimes.interface import RunResult
from harness.runtimes.program import Program
from tests.suites.two_sides import micropython_scenario, suite

SUITE = suite("interrupt/test_sources.py")
UEVENT = Program.module("uevent")


def _failed(monkeypatch: pytest.MonkeyPatch, poller: bytes) -> set[str]:
    """The figures that fail with ``poller`` in place of fixtures/modules/uevent.py."""
    monkeypatch.setattr(Program, "module", staticmethod(lambda _name: poller))
    scenario = micropython_scenario("esp32")
    SUITE.test_the_poller_sleeps_until_a_datagram_comes(scenario)
    return {figure.name for figure in scenario.measurements if figure.verdict is Outcome.FAIL}


@pytest.mark.parametrize(
    ("there", "instead", "figures"),
    [
        (b"", b"", set()),
        (b"self._poll_streams(wait)", b"self._poll_streams(0)", {"wakes", "awake"}),
        (b"self._poll_streams(wait)", b"self._poll_streams(10)", {"wakes"}),
        (b"self._select.ipoll(ms)", b"[self._select.ipoll(ms), sleep_ms(30)][0]", {"late"}),
    ],
    ids=["healthy", "spins", "polls each 10 ms", "looks late"],
)
def test_a_poller_that_does_not_sleep_until_then_fails(
    monkeypatch: pytest.MonkeyPatch, there: bytes, instead: bytes, figures: set[str]
) -> None:
    changed = UEVENT.replace(there, instead).replace(b"from time import ", b"from time import sleep_ms, ")
    failed = {name.rpartition(".")[2] for name in _failed(monkeypatch, changed)}
    assert figures <= failed if figures else not failed


@pytest.mark.parametrize(
    ("stdout", "stderr", "words"),
    [
        (b"came\r\n", b"", ""),
        (b"", b"Traceback\r\nImportError: no module named 'socket'\r\n", "has no sockets"),
        (b"nothing came\r\n", b"", "ended with nothing came"),
        (b"", b"Traceback\r\nOSError: [Errno 118] EHOST\x1bUNREACH\r\n", "OSError: [Errno 118] EHOST?UNREACH"),
        (b"", b"", "ended with nothing"),
    ],
)
def test_the_reason_of_a_skip_is_what_the_vm_said(stdout: bytes, stderr: bytes, words: str) -> None:
    class Vm:
        def run(self, _source: str) -> Any:
            return RunResult(stdout, stderr, 0.0)

    why = SUITE._no_loopback(Vm())
    assert words in why if words else not why
