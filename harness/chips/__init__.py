"""The chips that the harness knows: one file per chip or family of alike ones, and what other packages add.

A file of this package that has ``CHIPS`` (a tuple of :class:`Chip`) is found by itself. Another package's chips come by
an entry point of the group ``harness.chips``, which resolves to a :class:`Chip` or a list of them.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from harness.chips.flash_geometry import Device, FlashGeometry, Geometry
from harness.chips.port import NEWEST, Port, Reset, Since
from harness.chips.record import GENERIC, KB, MB, STM32_FLASH_BASE, Chip, Family
from harness.chips.virtual_parts import EsptoolView, RomWords, Stm32LoaderView, VirtualParts
from harness.errors import UsageError
from harness.extensions import resolve

__all__ = [
    "CHIPS",
    "GENERIC",
    "KB",
    "MB",
    "NEWEST",
    "STM32_FLASH_BASE",
    "Chip",
    "Device",
    "EsptoolView",
    "Family",
    "FlashGeometry",
    "Geometry",
    "Port",
    "Registry",
    "Reset",
    "RomWords",
    "Since",
    "Stm32LoaderView",
    "VirtualParts",
    "chip_named",
    "chip_of_image",
    "virtual_chips",
]

GROUP = "harness.chips"


class Registry(Mapping[str, Chip]):
    """All chips by name, the built-in ones first. Nothing is loaded before it is asked for.

    Asking raises UsageError when an entry point does not resolve, to something that is no chip, or to a name that is
    taken.
    """

    def __init__(self) -> None:
        self._chips: dict[str, Chip] | None = None

    def __getitem__(self, name: str) -> Chip:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def forget(self) -> None:
        """Look again when next asked: packages have come or gone."""
        self._chips = None

    def _all(self) -> dict[str, Chip]:
        if self._chips is None:
            chips = {chip.name: chip for chip in built_in()}
            origin = dict.fromkeys(chips, "the harness itself")
            for point in sorted(entry_points(group=GROUP), key=lambda entry: (_from(entry), entry.name)):
                for chip in _resolved(point):
                    if chip.name in chips:
                        raise UsageError(
                            f"{_from(point)} brings a chip {chip.name!r}, which {origin[chip.name]} has already",
                            hint="give it a name of its own, or uninstall one of the two",
                        )
                    chips[chip.name], origin[chip.name] = chip, _from(point)
            self._chips = chips
        return self._chips


def built_in() -> Iterator[Chip]:
    """The chips of this package's own files."""
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            yield from getattr(import_module(f"{__name__}.{module.name}"), "CHIPS", ())


def _from(point: EntryPoint) -> str:
    dist = point.dist
    return f"the package {dist.name} {dist.version}" if dist is not None else f"the entry point {point.name!r}"


def _resolved(point: EntryPoint) -> list[Chip]:
    where = f"{_from(point)} (entry point {point.name!r} = {point.value!r} of {GROUP!r})"
    hint = "mend or uninstall that package"
    try:
        value = resolve(point.value)
    except UsageError as problem:
        raise UsageError(f"{where}: {problem.message}", hint=hint) from problem
    items = list(value) if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping) else [value]
    for item in items:
        if not isinstance(item, Chip):
            raise UsageError(
                f"{where}: expected a harness.chips.Chip or a list of them; came {type(item).__name__}", hint=hint
            )
    return items


CHIPS = Registry()


def chip_named(name: str) -> Chip:
    """Raises UsageError for a name that no chip has."""
    if name in CHIPS:
        return CHIPS[name]
    near = get_close_matches(name, CHIPS, 1)
    raise UsageError(
        f"there is no chip {ascii(name)[:60]}; expected one of {', '.join(CHIPS)}",
        hint=f"the nearest is {near[0]!r}" if near else "",
    )


def chip_of_image(image_id: int) -> Chip | None:
    """The chip whose images carry that id in their extended header."""
    return next((chip for chip in CHIPS.values() if chip.image_id == image_id), None)


def virtual_chips() -> list[str]:
    """Names of the chips that a virtual board can have."""
    return [chip.name for chip in CHIPS.values() if chip.virtual is not None]
