"""``python -m harness.chips``: what is known of each chip, as the tables of docs/chips.md.

``python -m harness.chips docs/chips.md`` puts them into that file, in place of those that it has.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from harness.chips import CHIPS, Chip, Port

_BEGIN, _END = "<!-- made by python -m harness.chips -->", "<!-- end -->"


def _table(heading: Iterable[str], rows: Iterable[Iterable[object]]) -> list[str]:
    head = list(heading)
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    return [f"| {line} |" for line in [*lines, *(" | ".join(map(str, row)) for row in rows)]]


def _memory(chip: Chip) -> list[object]:
    at = " ".join(f"0x{start:08x}+0x{size:x}" for start, size in chip.flash_map) or "-"
    devices = chip.flash_geometry.devices if chip.flash_geometry else ()
    ids = " ".join(f"0x{device:03x}" for device in devices) or ("-" if chip.image_id is None else str(chip.image_id))
    return [chip.name, chip.family, f"0x{chip.boot_offset:x}", at, ids, "yes" if chip.virtual else "-"]


def _timers(port: Port) -> str:
    if port.family == "stm32":
        return "pyb.Timer " + ", ".join(map(str, port.pyb_timers))
    return f"0 to {port.hardware_timers - 1}" if port.hardware_timers else "-1"


def _kept(port: Port) -> str:
    if "kept_bytes" in port.not_known:
        return f"not known: {port.not_known['kept_bytes']}"
    if port.rtc_memory:
        return f"{port.rtc_memory} B of RTC memory"
    more = f", {port.backup_memory} B of backup RAM" if port.backup_memory else ""
    return f"{port.backup_registers} registers ({port.backup_block}, 0x{port.backup_registers_at:08x}){more}"


def _mhz(port: Port) -> str:
    taken = ", ".join(f"{hz / 1e6:g}" for hz in port.frequencies)
    return f"{port.clock_hz / 1e6:g}" + (f"; takes {taken}" if taken else "")


def _promises(port: Port) -> list[object]:
    pins = f"{port.pins} numbers" if port.pins else f"{port.pin_ports[0]}0 to {port.pin_ports[-1]}15"
    return [
        port.name, port.since, port.queue_depth, _timers(port), ", ".join(port.wakes_by), _kept(port), _mhz(port), pins
    ]  # fmt: skip


def _words(value: object) -> str:
    if isinstance(value, frozenset):
        return ", ".join(sorted(reset.value for reset in value))
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return repr(value)


def tables() -> str:
    """All tables, in Markdown."""
    ports = [chip.port for chip in CHIPS.values() if chip.port is not None]
    lines = ["## Boot, flash, image", ""]
    lines += _table(
        ["chip", "family", "boots from", "flash as the CPU sees it", "image or device id", "virtual board"],
        map(_memory, CHIPS.values()),
    )
    lines += ["", "## What MicroPython's port promises", ""]
    lines += _table(
        ["chip", "since", "queue", "hardware timers", "a deep sleep ends by", "kept over it", "MHz", "pins"],
        map(_promises, ports),
    )
    lines += ["", "Not known, and skipped with that reason:", ""]
    lines += [f"- {chip.name}: {chip.port_unknown}" for chip in CHIPS.values() if chip.port is None]
    lines += [f"- {port.name}, {what}: {why}" for port in ports for what, why in port.not_known.items()]
    lines += ["", "## What older firmware has", ""]
    rows: dict[tuple[str, ...], list[str]] = {}
    for port in ports:
        for entry in port.history:
            row = (entry.version, entry.field, _words(entry.before), entry.source)
            rows.setdefault(row, []).append(port.name)
    lines += _table(
        ["before", "fact", "was", "commit of MicroPython", "chips"],
        ([*map(_cell, row), ", ".join(chips)] for row, chips in sorted(rows.items())),
    )
    lines += ["", "## Sources", ""]
    said: dict[str, list[str]] = {}
    for chip in CHIPS.values():
        for source in (*chip.sources, *(chip.port.sources if chip.port else ())):
            said.setdefault(source, []).append(chip.name)
    lines += [f"- {source}: {', '.join(chips)}" for source, chips in said.items()]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def renewed(page: str) -> str:
    """The page with new tables. Raises ValueError for a page that has no place for them."""
    parts = re.fullmatch(f"(.*{re.escape(_BEGIN)}\n\n).*(\n{re.escape(_END)}.*)", page, re.S)
    if parts is None:
        raise ValueError(f"expected the lines {_BEGIN} and {_END}")
    return parts.group(1) + tables() + parts.group(2)


def main() -> None:
    if len(sys.argv) == 1:
        print(tables(), end="")
        return
    path = Path(sys.argv[1])
    path.write_text(renewed(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
