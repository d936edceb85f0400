"""Heap taken by modules in flash and elsewhere, strings that they share, and the wear of updates. Exact on any host."""

from __future__ import annotations

from harness.formats.romfs import build_romfs, compile_module
from harness.reference.flash.flash_region import SECTOR, Region
from harness.reference.flash.module_stack import TABLE_SECTORS, ModuleStack
from harness.reference.flash.module_update import ImageStore
from harness.reference.vm import ReferenceVm

_FUNCTIONS = 40
_IMPORT = (
    "import gc\ngc.collect()\ngc.disable()\n_a = gc.mem_alloc()\nimport {}\nprint(gc.mem_alloc() - _a)\ngc.enable()"
)
_UPDATES = 1000


def _source(stem: str) -> bytes:
    """Functions that each use three names of their own."""
    lines = (f"def {stem}_f{n}(a):\n    return a.{stem}_alpha{n} + a.{stem}_beta{n}\n" for n in range(_FUNCTIONS))
    return "".join(lines).encode()


def _taken(vm: ReferenceVm, name: str) -> float:
    return float(vm.run(_IMPORT.format(name)).stdout)


def _series(stems: list[str]) -> list[float]:
    """What each of some modules takes when they are imported one after the other."""
    stack = ModuleStack(Region((TABLE_SECTORS + 4 * len(stems)) * SECTOR))
    for number, stem in enumerate(stems):
        stack.push(f"m{number}", build_romfs({f"m{number}.mpy": compile_module(f"m{number}.py", _source(stem))}))
    with ReferenceVm(boot=b"") as vm:
        stack.reset(vm)
        return [_taken(vm, f"m{number}") for number in range(len(stems))]


def main() -> dict[str, float]:
    """Figures by name; the unit is the last word of each name."""
    figures = {}
    for kind, data in (("source", _source("x")), ("mpy", compile_module("m0.py", _source("x")))):
        with ReferenceVm() as vm:
            vm.put("/m0.mpy" if kind == "mpy" else "/m0.py", data)
            figures[f"import of {_FUNCTIONS} functions from {kind} in a file B"] = _taken(vm, "m0")
    same, other = _series(["x"] * 4), _series(["x", "y", "z", "w"])
    figures[f"import of {_FUNCTIONS} functions in place B"] = same[0]
    figures["three more modules with the same strings B"] = sum(same[1:])
    figures["three more modules with other strings B"] = sum(other[1:])
    for slots in (2, 4):
        region = Region(slots * SECTOR)
        store = ImageStore(region, slots=slots)
        for number in range(_UPDATES):
            store.update(b"%d" % number)
        figures[f"{_UPDATES} updates over {slots} slots: most erasures of a sector"] = float(max(region.erasures))
    return figures


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name:64} {value:10.0f}")
