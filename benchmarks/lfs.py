"""LFS images for NodeMCU: how long 20 modules take to build, how large they are, and the RAM that each saves."""

from __future__ import annotations

import time
from pathlib import Path

from harness.formats.lfs.container import pack_image, unpack_image
from harness.formats.lfs.read import read_image
from harness.reference.nodemcu.lfs_build import build
from harness.reference.nodemcu.lfs_cost import costs

_APP = Path(__file__).parents[1] / "fixtures" / "lua" / "app"
_RUNS = 5


def main() -> dict[str, float]:
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
    return figures


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name:44} {value:10.1f}")
