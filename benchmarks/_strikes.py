"""Strikes on virtual boards in the middle of whole runs: which, when, drawn from a seed.

Independent of the soak's plan: these are drawn for each scenario of a run, strike while suites run, and some aim at
what is in transit (a program, a record, a file) by the text that goes before it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from harness.virtual.faults import Fault

#: Of ten scenarios so many are struck.
_SHARE = 9
#: Before which bytes a program, a record or a file goes, by runtime. A program of MicroPython's goes as one literal
#: (``harness.runtimes.micropython.verified``), a file after the call of the program that takes it; NodeMCU's programs
#: are files, too.
_RAW_REPL = {"program": "b'''", "record": "\x02", "file": "_r('"}
_BEHIND = {
    "micropython": _RAW_REPL,
    "circuitpython": _RAW_REPL,
    "nodemcu": {"program": "_hxf=file.open", "record": "\x02", "file": '"w") print'},
}
#: Bytes behind that text within which it strikes: a file's begin behind 80 bytes of its program's end, and the file of
#: a package that is struck is one of the later ones.
_WITHIN = {"program": (0, 700), "record": (0, 60), "file": (80, 900), "package": (900, 6000)}
_DAMAGE = ("flip", "flip", "flip", "drop", "double", "swap", "nul")


@dataclass(frozen=True)
class Strike:
    """``fault`` is given to the board when the scenario begins; without one its power is cut after ``seconds``."""

    name: str
    fault: Fault | None = None
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.name} ({f'after {self.seconds:.2f} s' if self.fault is None else _told(self.fault)})"


def _told(fault: Fault) -> str:
    behind = f"{fault.after} bytes behind {fault.behind!a}" if fault.behind else f"after {fault.after} bytes"
    return f"{fault.kind}, {behind}, seed {fault.seed}"


def drawn(seed: str, runtime: str, scenarios: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Strike]:
    """At most one strike for each of ``scenarios`` (suite, name) of a board."""
    chance = random.Random(seed)
    strikes = {}
    for suite, name in scenarios:
        struck = chance.randrange(10) < _SHARE
        strike = _one(chance, runtime, files=suite == "flash_execution")
        if struck:
            strikes[suite, name] = strike
    return strikes


def _one(chance: random.Random, runtime: str, *, files: bool) -> Strike:
    seed = chance.randrange(1 << 30)
    # From the first bytes of a scenario to what a long one takes; most scenarios have less than 20,000 each way.
    after = int(10 ** chance.uniform(1, 3.8))
    kind = chance.choice(("damage", "noise", "stall", "reset", "brown-out", "vanish", "power cut", "aimed", "aimed"))
    if files and kind != "aimed" and chance.random() < 0.4:
        kind = "aimed"
    if kind == "damage":
        fault = Fault(chance.choice(_DAMAGE), rate=2e-3, seed=seed, after=after, count=chance.randrange(1, 4))
        return Strike("bytes damaged", fault)
    if kind == "noise":
        return Strike("line noise", Fault(chance.choice(("noise", "burst")), rate=1.0, seed=seed, after=after, count=1))
    if kind == "stall":
        fault = Fault("stall", seed=seed, after=after, seconds=chance.choice((0.3, 1.0, 3.0)))
        return Strike("stall", fault)
    if kind == "reset":
        return Strike("reset", Fault(chance.choice(("reset-running", "reset-uploading")), seed=seed, after=after))
    if kind == "brown-out":
        return Strike("brown-out", Fault("brown-out", seed=seed, after=after))
    if kind == "vanish":
        away = chance.choice((0.3, 1.0, 2.0))
        return Strike(
            "port vanishes", Fault(chance.choice(("vanish", "renamed")), seed=seed, after=after, seconds=away)
        )
    if kind == "power cut":
        return Strike("power cut", seconds=chance.uniform(0.02, 1.5))
    aim = chance.choice(
        ("file", "package", "package", "program") if files else ("program", "program", "record", "file")
    )
    low, high = _WITHIN[aim]
    return Strike(
        f"{aim} in transit",
        Fault(
            chance.choice(_DAMAGE),
            rate=1.0,
            seed=seed,
            direction="to-host" if aim == "record" else "to-board",
            after=chance.randrange(low, high),
            count=1,
            behind=_BEHIND[runtime]["file" if aim == "package" else aim],
        ),
    )
