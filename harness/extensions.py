"""What another package can add to the harness, by entry points; the harness's own stands in a table here.

A group is a kind of thing (``harness.runtimes``); each name in it leads to an object, as ``module:attribute``. Names
are known without importing anything. A name that two packages give, and an object that is not of the group's kind,
are refused with the name of the package.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pkgutil import resolve_name
from typing import Any, TypeVar

from harness.errors import UsageError

_T = TypeVar("_T")

#: The harness's own: group -> name -> object. The order is the one in which they are listed to users.
OURS: dict[str, dict[str, str]] = {
    "harness.kinds": {
        "heap": "harness.kinds:HEAP",
        "heap_kept": "harness.kinds:HEAP_KEPT",
        "heap_free": "harness.kinds:HEAP_FREE",
        "time": "harness.kinds:TIME",
        "ratio": "harness.kinds:RATIO",
        "count": "harness.kinds:COUNT",
        "rate": "harness.kinds:RATE",
        "state": "harness.kinds:STATE",
    },
    "harness.runtimes": {
        "micropython": "harness.runtimes.micropython:TRAITS",
        "circuitpython": "harness.runtimes.circuitpython:TRAITS",
        "nodemcu": "harness.runtimes.nodemcu:TRAITS",
    },
    "harness.flashing": {
        "esptool": "harness.flashing.esp:METHOD",
        "stm32-uart": "harness.flashing.stm32_uart:METHOD",
        "dfu": "harness.flashing.dfu:METHOD",
        "swd": "harness.flashing.swd:METHOD",
        "command": "harness.flashing.by_command:METHOD",
    },
    "harness.power": {
        "uhubctl": "harness.power.uhubctl:METHOD",
        "command": "harness.power.command_switch:METHOD",
        "http": "harness.power.http_relay:METHOD",
        "gpio": "harness.power.gpio_line:METHOD",
        "labgrid": "harness.labgrid.place_power:METHOD",
    },
    "harness.reports": {
        "json": "harness.results.report.formats:JSON",
        "junit": "harness.results.report.formats:JUNIT",
        "html": "harness.results.report.formats:HTML",
        "markdown": "harness.results.report.formats:MARKDOWN",
    },
}


@dataclass(frozen=True)
class Extension:
    """``target`` is ``module:attribute``; ``package`` is the distribution that gives it, for messages."""

    name: str
    target: str
    package: str


def names(group: str) -> tuple[str, ...]:
    """The names in ``group``, the harness's own first. Raises UsageError when two packages give the same one."""
    return tuple(_in(group))


def package_of(group: str, name: str) -> str:
    """The distribution that gives ``name``, which is in ``group``."""
    return _in(group)[name].package


def load(group: str, name: str, kind: type[_T]) -> _T:
    """The object that ``name`` stands for in ``group``.

    Raises UsageError for a name that is not there, and, naming the package, for an object that cannot be imported or
    is not of ``kind``.
    """
    known = _in(group)
    if name not in known:
        raise UsageError(f"there is no {name[:60]!r} in {group}", hint=f"known: {', '.join(known)}")
    extension = known[name]
    try:
        thing = resolve(extension.target)
    except UsageError as problem:
        raise UsageError(
            f"{group}: {name!r} of {extension.package} cannot be used: {problem.message}",
            hint=f"correct {extension.package}, or uninstall it",
        ) from problem
    if not isinstance(thing, kind):
        raise UsageError(
            f"{group}: {name!r} of {extension.package} is no {kind.__name__}, {extension.target} is "
            f"{type(thing).__name__}",
            hint=f"correct {extension.package}, or uninstall it",
        )
    return thing


def resolve(target: str) -> Any:
    """The object at ``module:attribute``. Raises UsageError when it cannot be had, whatever its module does."""
    try:
        return resolve_name(target)
    except Exception as problem:  # somebody else's module: it may raise anything
        raise UsageError(f"{target} cannot be loaded: {type(problem).__name__}: {str(problem)[:200]}") from problem


def forget() -> None:
    """Look anew at what is installed, at the next question."""
    _in.cache_clear()


@functools.cache  # what is installed does not change while a process runs
def _in(group: str) -> dict[str, Extension]:
    ours = [Extension(name, target, "vm-harness") for name, target in OURS.get(group, {}).items()]
    others = [
        Extension(point.name, point.value, point.dist.name if point.dist else "an unnamed package")
        for point in entry_points(group=group)
    ]
    return _joined(group, [*ours, *sorted(others, key=lambda extension: extension.name)])


def _joined(group: str, extensions: Iterable[Extension]) -> dict[str, Extension]:
    known: dict[str, Extension] = {}
    for extension in extensions:
        if extension.name in known:
            packages = f"{known[extension.name].package} and {extension.package}"
            raise UsageError(f"{group}: {extension.name!r} is given by {packages}", hint="uninstall one of them")
        known[extension.name] = extension
    return known
