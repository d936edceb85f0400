"""Which kind of VM a module is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.reference.engine.engine_vm import Vm, VmConfig
from harness.reference.engine.memory_layout import layout_of
from harness.reference.engine.tree_vm import TreeVm, is_from_tree
from harness.reference.engine.wasi import Port
from harness.reference.engine.wasm_machine import HostOutOfMemory


def built_in_depth(module: bytes, port_depth: int) -> int:
    """How many callbacks the scheduler's queue of the VM in ``module`` holds, of a port that promises ``port_depth``: a
    build from a source tree has its firmware's own depth, whatever that is."""
    return port_depth if is_from_tree(module) else layout_of(module).depth


def vm_of(
    module: bytes,
    port: Port,
    config: VmConfig,
    call: Callable[[str, str], str] = lambda _name, _argument: "",
    *,
    alarm: Callable[[], None] | None = None,
    weights: Sequence[float] = (),
) -> Vm | TreeVm:
    """One life of the VM in ``module``; see :class:`Vm`."""
    try:
        kind = TreeVm if is_from_tree(module) else Vm
    except MemoryError as problem:
        raise HostOutOfMemory(str(problem)) from None
    return kind(module, port, config, call, alarm=alarm, weights=weights)
