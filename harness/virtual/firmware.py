"""The virtual boards' firmware: the VM module with a port script and a manifest, in the chip's container.

A variant is the same firmware with one seeded defect, chosen by name. It differs in what is written to
the flash, not in the chip: only a board that was flashed with it shows the defect.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from harness.chips import chip_named
from harness.errors import UsageError
from harness.formats.virtual_image import build
from harness.reference.engine.engine_vm import PORT_SECTION, default_port_script
from harness.reference.engine.memory_layout import layout_of
from harness.reference.engine.prepare import vm_module
from harness.reference.engine.wasm_module import custom_section
from harness.reference.guest_rom import guest_rom, supervisor_rom
from harness.virtual.application import CIRCUITPYTHON_SECTION
from harness.virtual.board import virtual_parts
from harness.virtual.cpu import MANIFEST_SECTION, SYSTEM_ROM_SECTION, Manifest
from harness.virtual.defects import DEFECTS, HEALTHY
from harness.virtual.nodemcu.firmware import nodemcu_image


def require_variant(name: str | None, runtime: str = "") -> None:
    """Raises UsageError when there is no firmware variant ``name`` (None and "" are the healthy firmware).

    With ``runtime`` it must be one of that runtime's.
    """
    fitting = {key: defect for key, defect in DEFECTS.items() if runtime in ("", defect.runtime)}
    if name and name not in fitting:
        known = "; ".join(f"{key}: {defect.sentence}" for key, defect in sorted(fitting.items()))
        what = f" of {runtime}" if name in DEFECTS else ""
        raise UsageError(f"there is no firmware variant {name!r}{what}", hint=f"known variants: {known}")


def build_firmware(
    chip: str,
    *,
    runtime: str = "micropython",
    variant: str | None = None,
    flash_size: int = 4 * 1024 * 1024,
    progress: Callable[[str], None] = lambda _message: None,
) -> bytes:
    """The image to be written at the chip's boot offset. The same arguments give the same bytes.

    Raises UsageError for an unknown variant or a runtime that this chip has no virtual firmware for, and what
    :func:`vm_module` raises.
    """
    if (chip, runtime) == ("esp8266", "nodemcu"):
        if variant:
            raise UsageError(f"there is no NodeMCU variant {variant!r}", hint="the variants are MicroPython's")
        return nodemcu_image(flash_size=flash_size)
    parts, port = virtual_parts(chip), chip_named(chip).promised()
    if runtime not in ("micropython", "circuitpython") or (
        runtime == "circuitpython" and not parts.circuitpython_region
    ):
        raise UsageError(f"there is no virtual firmware with {runtime} for the {chip}")
    require_variant(variant, runtime)
    defect = DEFECTS[variant] if variant else HEALTHY
    module = vm_module(progress)
    version = vm_version(module)
    full = f"{version}-{variant}" if variant else version
    depth = layout_of(module).depth
    if runtime == "circuitpython":
        banner = f"Adafruit CircuitPython on MicroPython {full}; virtual Feather ESP32 with {parts.board}"
        rom, heap = supervisor_rom(port, depth, defect.guest), parts.circuitpython_region
    else:
        banner = f"MicroPython {full}; virtual {parts.board} board with {parts.part}"
        rom, heap = guest_rom(port, depth, defect.guest), parts.heap
    payload = (
        module
        + custom_section(PORT_SECTION, defect.script(default_port_script()).encode())
        + custom_section(SYSTEM_ROM_SECTION, rom)
        + custom_section(MANIFEST_SECTION, Manifest(banner, heap, variant or "").to_bytes())
    )
    if runtime == "circuitpython":
        payload += custom_section(CIRCUITPYTHON_SECTION, b"")
    return build(chip, payload, version=version, project=runtime, flash_size=flash_size)


@functools.lru_cache(maxsize=2)
def vm_version(module: bytes) -> str:
    """The version that the module itself reports, e.g. ``v1.27.0-preview.225.g3f6d144cb8``."""
    found = re.search(rb"MicroPython (v\d+\.\d+\.[\w.+-]{1,60})", module)
    return found.group(1).decode() if found else "unknown"
