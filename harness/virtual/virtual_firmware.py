"""The virtual boards' firmware: the VM module with a port script and a manifest, in the chip's container.

A variant is the same firmware with one seeded defect, chosen by name. It differs in what is written to
the flash, not in the chip: only a board that was flashed with it shows the defect.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Protocol

from harness.chips import chip_named
from harness.errors import UsageError
from harness.extensions import resolve
from harness.formats.virtual_image import build
from harness.reference.engine.engine_vm import PORT_SECTION, default_port_script
from harness.reference.engine.memory_layout import layout_of
from harness.reference.engine.prepare import vm_module
from harness.reference.engine.vm_of import built_in_depth
from harness.reference.engine.wasm_module import custom_section
from harness.reference.guest_rom import OWN_CODE, guest_rom, supervisor_rom
from harness.runtimes.traits import DEFAULT_RUNTIME, traits_of
from harness.virtual.application import CIRCUITPYTHON_SECTION
from harness.virtual.cpu import MANIFEST_SECTION, SYSTEM_ROM_SECTION, Manifest
from harness.virtual.defects import DEFECTS, HEALTHY, Defect
from harness.virtual.languages import LANGUAGES
from harness.virtual.live_board import virtual_parts
from harness.virtual.nodemcu.nodemcu_firmware import nodemcu_image


def require_variant(name: str | None, runtime: str = "") -> None:
    """Raises UsageError when there is no firmware variant ``name`` (None and "" are the healthy firmware).

    With ``runtime`` it must be one of that runtime's.
    """
    fitting = {key: defect for key, defect in DEFECTS.items() if runtime in ("", defect.runtime)}
    if name and name not in fitting:
        near = get_close_matches(name, sorted(fitting), n=3, cutoff=0.5)
        meant = f"near it: {'; '.join(f'{key} ({fitting[key].sentence})' for key in near)}. " if near else ""
        what = f" of {runtime}" if name in DEFECTS else ""
        raise UsageError(
            f"there is no firmware variant {name!r}{what}",
            hint=f"{meant}'harness selfcheck --list' shows them all (CircuitPython's with --board vfeather)",
        )


class FirmwareMaker(Protocol):
    """Makes the image of one runtime for a virtual chip: the same arguments, the same bytes. ``progress`` hears of the
    one-time preparation. Raises UsageError for a variant that there is not, or a chip that it has no firmware for."""

    def __call__(
        self, chip: str, variant: str | None, flash_size: int, progress: Callable[[str], None], /
    ) -> bytes: ...


def build_firmware(
    chip: str,
    *,
    runtime: str = DEFAULT_RUNTIME,
    variant: str | None = None,
    flash_size: int = 4 * 1024 * 1024,
    language: str = "",
    progress: Callable[[str], None] = lambda _message: None,
) -> bytes:
    """The image to be written at the chip's boot offset. The same arguments give the same bytes.

    Raises UsageError for an unknown variant or a runtime that this chip has no virtual firmware for, and what
    :func:`vm_module` raises.
    """
    if language:
        if runtime != "circuitpython":
            raise UsageError(f"virtual firmware with {runtime} speaks English only", hint="take 'language' out")
        return circuitpython_firmware(chip, variant, flash_size, progress, language=language)
    place = traits_of(runtime).virtual_firmware
    if not place:
        raise _none_for(runtime, chip)
    maker: FirmwareMaker = resolve(place)
    return maker(chip, variant, flash_size, progress)


def _none_for(runtime: str, chip: str) -> UsageError:
    return UsageError(f"there is no virtual firmware with {runtime} for the {chip}")


def micropython_firmware(chip: str, variant: str | None, flash_size: int, progress: Callable[[str], None]) -> bytes:
    """See :class:`FirmwareMaker`."""
    parts, port = virtual_parts(chip), chip_named(chip).promised()
    require_variant(variant, "micropython")
    defect = DEFECTS[variant] if variant else HEALTHY
    module = vm_module(progress)
    banner = f"MicroPython {_full_version(module, variant)}; virtual {parts.board} board with {parts.part}"
    rom = guest_rom(port, built_in_depth(module, port.queue_depth), defect.guest)
    payload = _payload(module, defect, rom, Manifest(banner, parts.heap + OWN_CODE, variant or ""))
    return _image(chip, payload, module, "micropython", flash_size)


def circuitpython_firmware(
    chip: str, variant: str | None, flash_size: int, progress: Callable[[str], None], *, language: str = ""
) -> bytes:
    """See :class:`FirmwareMaker`. ``language`` is one of :data:`harness.virtual.languages.LANGUAGES`."""
    parts, port = virtual_parts(chip), chip_named(chip).promised()
    if not parts.circuitpython_region:
        raise _none_for("circuitpython", chip)
    require_variant(variant, "circuitpython")
    defect = DEFECTS[variant] if variant else HEALTHY
    module = vm_module(progress)
    version = _full_version(module, variant)
    banner = f"Adafruit CircuitPython on MicroPython {version}; virtual Feather ESP32 with {parts.board}"
    banner += f" ({LANGUAGES[language].name})" if language else ""
    rom = supervisor_rom(port, layout_of(module).depth, defect.guest)
    payload = _payload(
        module, defect, rom, Manifest(banner, parts.circuitpython_region, variant or "", language=language)
    )
    return _image(chip, payload + custom_section(CIRCUITPYTHON_SECTION, b""), module, "circuitpython", flash_size)


def nodemcu_firmware(chip: str, variant: str | None, flash_size: int, progress: Callable[[str], None]) -> bytes:
    """See :class:`FirmwareMaker`."""
    if chip != "esp8266":
        raise _none_for("nodemcu", chip)
    if variant:
        raise UsageError(f"there is no NodeMCU variant {variant!r}", hint="the variants are MicroPython's")
    return nodemcu_image(flash_size=flash_size)


def _full_version(module: bytes, variant: str | None) -> str:
    return f"{vm_version(module)}-{variant}" if variant else vm_version(module)


def _payload(module: bytes, defect: Defect, rom: bytes, manifest: Manifest) -> bytes:
    return (
        module
        + custom_section(PORT_SECTION, defect.script(default_port_script()).encode())
        + custom_section(SYSTEM_ROM_SECTION, rom)
        + custom_section(MANIFEST_SECTION, manifest.to_bytes())
    )


def _image(chip: str, payload: bytes, module: bytes, runtime: str, flash_size: int) -> bytes:
    return build(chip, payload, version=vm_version(module), project=runtime, flash_size=flash_size)


@functools.lru_cache(maxsize=2)
def vm_version(module: bytes) -> str:
    """The version that the module itself reports, e.g. ``v1.27.0-preview.225.g3f6d144cb8``."""
    match = re.search(rb"MicroPython (v\d+\.\d+\.[\w.+-]{1,60})", module)
    return match.group(1).decode() if match else "unknown"
