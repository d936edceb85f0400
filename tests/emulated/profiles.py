"""How long work of each kind takes on the emulated boards: what the profiles of the harness are fitted on."""

from __future__ import annotations

import json
import re
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from harness.bench.attach import Options, attach
from harness.inventory.load import load_bench
from harness.judging.calibration import Point, best_fit, spread_of, work_of
from harness.judging.profiles import GENERIC, Profile, Timed, fit_weights, profile_named, residuals
from harness.judging.references import reference_for
from harness.paths import fixtures_dir
from harness.reference.vm import ReferenceVm
from harness.runtimes.program import Program

from .bench import entry, how_to_run
from .boards import Board
from .qemu import emulated

#: Of which boards each profile is made. The others stand for firmware that no profile has seen.
SOURCES = {"thumb-m0": ("m0-clock",), "thumb-m3": ("m3-timers", "m3-older-fat"), "rv32": ("rv32-root",)}
WORDS = {
    "thumb-m0": "Arm Thumb without division and long multiplication, as on a Cortex-M0",
    "thumb-m3": "Arm Thumb-2 without floating point, as on a Cortex-M3",
    "rv32": "RISC-V with multiplication and compressed instructions, as on an ESP32-C3",
    "generic": "the mean of the others, for an instruction set that none of them is",
}

#: So many operations in one program; all of them would not fit some heaps.
_AT_ONCE = 20


def operations() -> list[str]:
    """The operations of ``fixtures/programs/kinds_of_work.py``: its functions that take nothing."""
    source = (fixtures_dir() / "programs" / "kinds_of_work.py").read_text("utf-8")
    return re.findall(r"^def (\w+)\(\):", source, re.MULTILINE)


def take(board: Board) -> list[Timed]:
    """Run calibration and the other operations on the board and on the reference. Raises Unavailable."""
    command, _ = how_to_run(board)
    names = operations()
    parts = [names[at : at + _AT_ONCE] for at in range(0, len(names), _AT_ONCE)]
    programs = [Program.load("calibration"), *(Program.load("kinds_of_work", names=part) for part in parts)]
    result = []
    with tempfile.TemporaryDirectory() as scratch, emulated(command) as emulator:
        bench = Path(scratch) / "boards.yaml"
        bench.write_text(entry(board, emulator.port))
        attached = attach(load_bench(bench).boards[0], Options(Path(scratch), flash=False), lambda *_: None)
        try:
            with reference_for(attached, lambda _: None) as reference:
                assert isinstance(reference, ReferenceVm)
                for program in programs:
                    attached.runtime.soft_reset()
                    reference.soft_reset()
                    there = program.run(attached.runtime, timeout=240.0)
                    here = program.run(reference, timeout=240.0)
                    work = work_of(program, reference)
                    for mine, other in zip(there.observations, here.observations, strict=True):
                        times = float(mine.value), float(other.value)
                        result.append(Timed(board.id, mine.name, *times, work[mine.name]))
        finally:
            attached.close()
    return result


def kept(file: Path) -> list[Timed]:
    """What :func:`keep` wrote."""
    return [Timed(**{**one, "work": tuple(one["work"])}) for one in json.loads(file.read_text())]


def keep(timed: Sequence[Timed], file: Path) -> None:
    """Write them, one a line."""
    file.write_text("[\n" + ",\n".join(json.dumps(asdict(one)) for one in timed) + "\n]\n")


def made(timed: Sequence[Timed]) -> list[Profile]:
    """The profiles, fitted on everything but the calibration's own operations."""
    wanted = set(operations())
    training = [one for one in timed if one.name in wanted]
    sources = {**SOURCES, GENERIC: tuple(board for boards in SOURCES.values() for board in boards)}
    result = []
    for name, boards in sources.items():
        mine = [one for one in training if one.board in boards]
        if {one.board for one in mine} != set(boards):
            continue
        weights = tuple(float(f"{weight:.3g}") for weight in fit_weights(mine))
        off = [residuals(_own(timed, board), weights) for board in boards]
        known = {
            operation: round(statistics.geometric_mean([one[operation] for one in off]), 3) for operation in off[0]
        }
        result.append(Profile(name, WORDS[name], weights, known))
    return result


def as_source(profiles: Sequence[Profile]) -> str:
    """The table of ``harness/judging/profiles.py``."""
    lines = ["PROFILES = ("]
    for profile in profiles:
        numbers = [f"{weight:g}" for weight in profile.weights]
        lines += [
            "    Profile(",
            f'        "{profile.name}",',
            f'        "{profile.words}",',
            f"        ({', '.join(numbers)}),",
            "        {",
            *(f'            "{name}": {ratio:g},' for name, ratio in profile.known.items()),
            "        },",
            "    ),",
        ]
    return "\n".join([*lines, ")"]) + "\n"


def report(timed: Sequence[Timed]) -> str:
    """Time by prediction of each of the calibration's operations, on each board, as Markdown.

    Each is predicted with the scale of the others: by the plain cost; by weights that were fitted on other instruction
    sets; by the profile that fits best, whose weights have seen none of these operations; and as it is judged, by the
    same profile with its known errors taken out, which says something of boards that it was not fitted on.
    """
    training = set(operations())
    names = list(dict.fromkeys(one.name for one in timed if one.name not in training))
    boards = list(dict.fromkeys(one.board for one in timed))
    lines = [
        f"| board | predicted by | {' | '.join(names)} | within 10 / 15 / 25 % | spread |",
        f"|---|---|{'---|' * len(names)}---|---|",
    ]
    for board in boards:
        tried = [one for one in timed if one.board == board and one.name in names]
        own = next((name for name, sources in SOURCES.items() if board in sources), _alike(board))
        others = [b for name, sources in SOURCES.items() if name != own for b in sources]
        foreign = [one for one in timed if one.board in others and one.name in training]
        best = _best(tried)
        ways = {"plain cost": _plain(tried)}
        if foreign:  # not where there are times of the calibration alone
            ways["other sets"] = residuals(tried, fit_weights(foreign))
        ways |= {best.name: residuals(tried, best.weights), "judged": _judged(tried, best)}
        for what, found in ways.items():
            ratios = [f"{found[name]:.2f}" if name in found else "" for name in names]
            counts = [str(sum(abs(ratio - 1) <= reach for ratio in found.values())) for reach in (0.1, 0.15, 0.25)]
            cells = [f"`{board}`", what, *ratios, " / ".join(counts), f"{100 * spread_of(found):.1f} %"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def summary(timed: Sequence[Timed]) -> str:
    """How far the calibration's operations are off on each board, by one scale and by the profile, as Markdown."""
    lines = [
        "| board | profile | one scale for all work: within 15 %, worst, spread | the profile | as it is judged |",
        "|---|---|---|---|---|",
    ]
    for board in dict.fromkeys(one.board for one in timed):
        tried = _own(timed, board)
        best = _best(tried)
        ways = (_plain(tried), residuals(tried, best.weights), _judged(tried, best))
        lines.append(f"| `{board}` | {best.name} | {' | '.join(_told(found) for found in ways)} |")
    return "\n".join(lines) + "\n"


def _told(found: Mapping[str, float]) -> str:
    """``16 of 17, floats 1.28, 8.5 %``."""
    within = sum(abs(ratio - 1) <= 0.15 for ratio in found.values())
    worst = max(found, key=lambda name: abs(found[name] - 1))
    return f"{within} of {len(found)}, {worst} {found[worst]:.2f}, {100 * spread_of(found):.1f} %"


def _best(tried: Sequence[Timed]) -> Profile:
    """The profile of the harness that a board with these times is given."""
    points = [Point(one.name, one.measured_us, one.cost) for one in tried]
    return profile_named(best_fit(points, {one.name: one.work for one in tried}).profile)


def _own(timed: Sequence[Timed], board: str) -> list[Timed]:
    """The calibration's own operations on one board."""
    training = set(operations())
    return [one for one in timed if one.board == board and one.name not in training]


def _alike(board: str) -> str:
    return next(name for name in SOURCES if board.split("-")[0] in name)


def _judged(tried: Sequence[Timed], profile: Profile) -> dict[str, float]:
    return residuals([replace(one, work=(profile.cost(one.work, one.name),)) for one in tried], (1.0,))


def _plain(tried: Sequence[Timed]) -> dict[str, float]:
    return residuals([replace(one, work=(one.cost,)) for one in tried], (1.0,))
