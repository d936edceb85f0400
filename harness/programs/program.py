"""A board-side program with its inputs: loaded from ``fixtures/programs/``, run the same everywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import BenchFault, FirmwareFailure, UsageError
from harness.paths import fixtures_dir
from harness.programs.records import Decoded, decode
from harness.runtimes.base import Runtime


@dataclass(frozen=True)
class Program:
    """``inputs`` are plain JSON values; the program finds them in its global ``INPUT``."""

    name: str
    source: str
    inputs: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def load(cls, name: str, **inputs: object) -> Program:
        """The program ``fixtures/programs/<name>.py``. Raises UsageError when there is none."""
        path = fixtures_dir() / "programs" / f"{name}.py"
        return cls(name, _read(path), inputs)

    def run(self, runtime: Runtime, *, timeout: float = 60.0) -> Decoded:
        """Send the agent and the inputs (unless the program does without), then the program; decode its records.

        Raises FirmwareFailure when the program ended with a traceback, BenchFault when records are
        missing or damaged.
        """
        parts = [(f"program {self.name}", self.source)]
        if "agent." in self.source:
            parts.insert(0, ("the measuring agent", f"{agent_source()}\nINPUT = {_literal(self.inputs)}\n"))
        for part, text in parts:
            result = runtime.run(text, timeout=timeout)
            if result.stderr:
                trace = result.stderr.decode("utf-8", "backslashreplace").strip()
                last = (trace.splitlines() or ["a traceback without text"])[-1][:200]
                raise FirmwareFailure(f"{part} ended with {last!r}\n{trace[-2000:]}")
        return decode(result.stdout)


def agent_source() -> str:
    return _read(fixtures_dir() / "agent" / "agent.py")


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as problem:
        raise UsageError(f"cannot read {path.name}: {problem.strerror}", hint="see fixtures/programs/") from None


def _literal(inputs: Mapping[str, object]) -> str:
    """``inputs`` as a literal that Python and MicroPython read alike. Raises BenchFault for other types."""
    try:
        checked = json.loads(json.dumps(dict(inputs)))
    except (TypeError, ValueError) as problem:
        raise BenchFault(f"program inputs must be plain JSON values: {problem}") from None
    return repr(checked)
