"""Which faults a soak injects, drawn from its seed, and what is being done when each strikes."""

from __future__ import annotations

import random
from dataclasses import dataclass

from harness.virtual.faults import KINDS, Fault

#: A fault of the means to recover shows only when they are needed.
_TOGETHER = {"power-stuck": "latch-up", "lines-stuck": "hang"}
_ACTION = {
    "reset-flashing": "flash",
    "stuck-bit": "flash",
    "reset-uploading": "upload",
    "full-filesystem": "upload",
    "wrong-version": "version",
}
#: What the harness does while a fault is about: ``measure`` figures, ``upload`` a file, write the ``flash``, look at
#: the firmware's ``version``. Bytes that surely pass in each, in the direction that the fault counts: it strikes
#: within these.
_PASS = {"measure": 300, "upload": 1500, "flash": 3000, "version": 100}


@dataclass(frozen=True)
class Injection:
    """One fault of the plan; ``faults`` are given to the board together, then ``action`` is done."""

    index: int
    kind: str
    action: str
    faults: tuple[Fault, ...]
    #: The board is reset before, so that what happens at a start has happened.
    reset: bool


def plan(count: int, seed: int) -> list[Injection]:
    """``count`` injections in which every kind comes as often as every other one, give or take one."""
    chance = random.Random(seed)
    names: list[str] = []
    while len(names) < count:
        round_ = sorted(KINDS)
        chance.shuffle(round_)
        names += round_
    return [_injection(index, name, chance) for index, name in enumerate(names[:count])]


def _injection(index: int, name: str, chance: random.Random) -> Injection:
    kind = KINDS[name]
    action = _ACTION.get(name) or chance.choice(("measure", "measure", "upload"))
    if kind.phase == "running" and action == "upload":
        action = "measure"  # an upload lets the program say little
    starts = kind.phase == "boot"
    after = 0 if starts else chance.randrange(_PASS[action])
    seed = chance.randrange(1 << 30)
    if kind.many and not starts:
        # Now and then a few bytes, now and then a line that is bad all the time.
        heavy = chance.random() < 0.3
        fault = Fault(name, rate=2e-3, seed=seed, after=after, count=None if heavy else chance.randrange(1, 4))
    else:
        fault = Fault(name, seed=seed, after=after, seconds=chance.choice((0.5, 2.0, 6.0)))
    together: tuple[Fault, ...] = (fault,)
    if name in _TOGETHER:
        together = (fault, Fault(_TOGETHER[name], seed=seed, after=after))
    return Injection(index, name, action, together, reset=starts)
