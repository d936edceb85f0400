"""Puts a mutation into the modules of this process, by the text of what it changes."""

from __future__ import annotations

import importlib
import inspect
import textwrap
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

import pytest


@dataclass(frozen=True)
class Mutation:
    """In the function ``target`` (``module:Class.method``) the text ``old`` becomes ``new``.

    A target ``guest:NAME`` is a module of the CircuitPython image. A constant has no ``old``, and ``new`` is its value.
    ``catcher`` is the id of a test, or that of a scenario under ``suites/``, which is run with a reference in the
    board's place, so that both sides have the mutation; after ``@`` stands the chip for one of MicroPython's.
    """

    name: str
    part: str
    does: str
    target: str
    old: str
    new: Any
    catcher: str

    @property
    def by_scenario(self) -> bool:
        return self.catcher.startswith("suites/")


def apply(mutation: Mutation, patch: pytest.MonkeyPatch) -> None:
    """Raises AssertionError when the text that it changes is not there any more, or not once."""
    place, _, path = mutation.target.partition(":")
    if place == "guest":
        _in_guest(path, mutation, patch)
        return
    owner: Any = importlib.import_module(place)
    *owners, name = path.split(".")
    for one in owners:
        owner = getattr(owner, one)
    if not mutation.old:
        assert hasattr(owner, name), f"{mutation.name}: there is no {mutation.target}"
        patch.setattr(owner, name, mutation.new)
        return
    found = inspect.getattr_static(owner, name)
    function = found.fget if isinstance(found, property) else found
    assert isinstance(function, FunctionType)
    patch.setattr(function, "__code__", _edited(function, mutation))


def _edited(function: FunctionType, mutation: Mutation) -> CodeType:
    """The function's code after the edit. Its defaults, globals and whoever holds it stay as they are."""
    text = textwrap.dedent(inspect.getsource(function))
    assert text.count(mutation.old) == 1, f"{mutation.name}: {mutation.target} has {mutation.old!r} not once"
    module = compile(text.replace(mutation.old, mutation.new), f"<mutation {mutation.name}>", "exec", dont_inherit=True)
    codes = [code for code in module.co_consts if isinstance(code, CodeType) and code.co_name == function.__name__]
    assert len(codes) == 1 and codes[0].co_freevars == function.__code__.co_freevars
    return codes[0]


def _in_guest(name: str, mutation: Mutation, patch: pytest.MonkeyPatch) -> None:
    from harness.reference import guest_rom, supervised

    image = guest_rom.supervisor_rom
    change = (name, mutation.old, mutation.new)
    patch.setattr(supervised, "supervisor_rom", lambda port, depth: image(port, depth, change))
