"""What the host keeps for a guest beside its memory: the state of pins, timers, clock and files, kept and put back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

#: Modules whose objects are state of the board; those of the engine itself are not rewound by this.
_OURS = "harness.reference."
_NOT = (
    "harness.reference.explore.",
    "harness.reference.life",
    "harness.reference.engine.tree_vm",
    "harness.reference.engine.wasm_machine",
    "harness.reference.engine.wasi",
    "harness.reference.engine.guest_memory",
    "harness.reference.engine.memory_layout",
)


def keep(roots: Iterable[object]) -> Callable[[], None]:
    """Keep the state of all objects that ``roots`` lead to; the answer puts it back.

    Objects stay the same ones, so that what refers to them goes on doing so: a timer's action, a pin's callback.
    """
    restores: list[Callable[[], None]] = []
    seen: set[int] = set()
    waiting = list(roots)
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        waiting += _keep_one(item, restores)

    def restore() -> None:
        for put_back in restores:
            put_back()

    return restore


def _keep_one(item: Any, restores: list[Callable[[], None]]) -> list[object]:
    """Add what puts ``item`` itself back; returns what it leads to."""
    if isinstance(item, bytearray):
        content = bytes(item)
        restores.append(lambda: item.__setitem__(slice(None), content))
    elif isinstance(item, dict):
        restores.append(_replaces(item, dict(item)))
        return list(item.values())
    elif isinstance(item, set):
        restores.append(_replaces(item, set(item)))
    elif isinstance(item, list):
        entries = list(item)
        restores.append(lambda: item.__setitem__(slice(None), entries))
        return entries
    elif isinstance(item, deque):
        queued = list(item)

        def refill() -> None:
            item.clear()
            item.extend(queued)

        restores.append(refill)
        return queued
    elif isinstance(item, tuple):
        return list(item)
    elif _is_state(item):
        restores.append(_replaces(item.__dict__, dict(item.__dict__)))
        return list(item.__dict__.values())
    return []


def _replaces(item: Any, content: Any) -> Callable[[], None]:
    def put_back() -> None:
        item.clear()
        item.update(content)

    return put_back


def _is_state(item: object) -> bool:
    where = type(item).__module__
    return (
        where.startswith(_OURS)
        and not where.startswith(_NOT)
        and hasattr(item, "__dict__")
        and not isinstance(item, Enum)
    )
