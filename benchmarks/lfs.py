"""LFS images for NodeMCU: how long 20 modules take to build, how large they are, and the RAM that each saves.

And a search for sources that end in a traceback: generated ones, every fifth of them damaged (``lfs=5000``).
"""

from __future__ import annotations

import time
from pathlib import Path

from harness.errors import UsageError
from harness.formats.lfs.container import pack_image, unpack_image
from harness.formats.lfs.read import read_image
from harness.reference.nodemcu.lfs_build import build
from harness.reference.nodemcu.lfs_cost import costs

_APP = Path(__file__).parents[1] / "fixtures" / "lua" / "app"
_RUNS = 5


def generated(count: int) -> dict[str, float]:
    """How the builds of generated sources end, by seeds from 0. What is no refusal is printed with its seed."""
    from tests.formats.lfs.generated_lua import damaged, lua_source

    built = refused = 0
    started = time.perf_counter()
    for seed in range(count):
        integer = seed % 2 == 1
        source = damaged(seed, integer=integer) if seed % 5 == 4 else lua_source(seed, integer=integer)
        try:
            build({"m.lua": source}, integer=integer, build_time=1)
            built += 1
        except UsageError:
            refused += 1
        except Exception as problem:
            print(f"seed {seed}: {type(problem).__name__}: {problem}")
    return {
        "generated sources": float(count),
        "of them built": float(built),
        "of them refused": float(refused),
        "of them neither": float(count - built - refused),
        "time of one ms": 1000 * (time.perf_counter() - started) / max(count, 1),
    }


def main(count: int = 5000) -> dict[str, float]:
    """Figures by name; the unit is the last word of each name. Times are the best of some runs."""
    sources = {file.name: file.read_bytes() for file in sorted(_APP.glob("*.lua"))}
    laid_out, packed, checked = [], [], []
    for _ in range(_RUNS):
        started = time.perf_counter()
        image = build(sources, build_time=1)
        laid_out.append(time.perf_counter() - started)
        started = time.perf_counter()
        file = pack_image(image.relocatable())
        packed.append(time.perf_counter() - started)
        started = time.perf_counter()
        unpack_image(file)
        checked.append(time.perf_counter() - started)
    figures = {
        "modules": float(len(sources)),
        "their source B": float(sum(map(len, sources.values()))),
        "compile and lay out ms": 1000 * min(laid_out),
        "compress and check as the loader does ms": 1000 * min(packed),
        "the check alone ms": 1000 * min(checked),
        "image in flash B": float(image.size),
        "image with its bitmap B": float(len(image.relocatable())),
        "file for the loader B": float(len(file)),
        "RAM of all modules from files B": 0.0,
        "RAM of all modules from LFS B": 0.0,
    }
    for cost in costs(read_image(file).modules):
        figures["RAM of all modules from files B"] += cost.in_ram
        figures["RAM of all modules from LFS B"] += cost.from_lfs
        figures[f"RAM saved: {cost.name} B"] = float(cost.saved)
    return figures | generated(count)


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name:44} {value:10.1f}")
