"""An installed package, as far as Python can tell, that brings kinds of measurement."""

from __future__ import annotations

from pathlib import Path

ENERGY = """
from harness.kinds import Effect, Kind, Within

ENERGY = Kind(
    "energy", "what a board takes from its supply", ("uJ", "mJ"), Within(20, 40, "an ammeter's"),
    decides=False, digits=3, history=Effect(relative=0.05), higher_is_worse=True, telling=True,
)
NOTHING = 42
"""


def install(folder: Path, points: str, *, name: str = "bench-energy", source: str = ENERGY) -> None:
    """``points`` are lines of the group ``harness.kinds``; ``folder`` goes on ``sys.path``."""
    (folder / f"{name.replace('-', '_')}.py").write_text(source)
    about = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[harness.kinds]\n{points}\n")
