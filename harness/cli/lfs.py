"""``harness lfs build`` and ``harness lfs inspect``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import CONTEXT
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.formats.lfs.read import LfsImage


def _number(value: str) -> int:
    try:
        return int(value, 0)
    except ValueError:
        raise UsageError(f"{value!r} is no number", hint="write 65536 or 0x10000") from None


@click.group("lfs", context_settings=CONTEXT)
def lfs() -> None:
    """Images of NodeMCU's Lua Flash Store (Lua 5.1)."""


@lfs.command("build", context_settings=CONTEXT)
@click.argument("sources", nargs=-1, required=True, metavar="FILE...")
@click.option("-o", "--output", default="lfs.img", metavar="FILE", show_default=True)
@click.option(
    "-m", "--max-size", type=_number, default="0x40000", metavar="BYTES",
    help="Size of the board's LFS region, a multiple of 4096 (default: 256 KB).",
)  # fmt: skip
@click.option("-i", "--include-strings", default="", metavar="FILE", help="More strings for the image, one a line.")
@click.option("-a", "--absolute", type=_number, default=None, metavar="ADDRESS", help="Image for this mapped address.")
@click.option("--raw", is_flag=True, help="Not compressed: the image with its relocation bitmap.")
@click.option("--integer", is_flag=True, help="For integer firmware.")
@click.option("-s", "--strip", is_flag=True, help="Taken and ignored, as luac.cross does: lines stay, names go anyway.")
@click.option("--time", "build_time", type=_number, default=None, metavar="SECONDS", help="Build time since 1970.")
def build_command(
    sources: tuple[str, ...],
    output: str,
    max_size: int,
    include_strings: str,
    absolute: int | None,
    raw: bool,
    integer: bool,
    strip: bool,
    build_time: int | None,
) -> None:
    """Build an image of Lua sources (or NodeMCU's .lc files) for node.LFS.reload.

    The build time is --time, or the environment's SOURCE_DATE_EPOCH, or now: with the first two the image is
    the same each time.
    """

    from harness.formats.lfs.container import pack_image
    from harness.formats.lfs.lfs_image import module_name
    from harness.reference.nodemcu.lfs_build import build, read_sources
    from harness.shown import Terminal

    if max_size % 4096 or max_size <= 0:
        raise UsageError(f"--max-size {max_size} is not a multiple of 4096", hint="give the size of the LFS region")
    if build_time is None and os.environ.get("SOURCE_DATE_EPOCH", "").isdigit():
        build_time = int(os.environ["SOURCE_DATE_EPOCH"])
    strings: list[bytes] = []
    if include_strings:
        strings = [line for line in read_sources([Path(include_strings)])[include_strings].splitlines() if line]
    content = read_sources([Path(name) for name in sources])
    image = build(content, integer=integer, include_strings=strings, max_size=max_size, build_time=build_time)
    if absolute is not None:
        data = image.absolute(absolute)
    else:
        data = image.relocatable() if raw else pack_image(image.relocatable())
    try:
        Path(output).write_bytes(data)
    except OSError as problem:
        raise UsageError(f"cannot write {output!r}: {problem.strerror}", hint="name another file with -o") from None
    console = Terminal(stderr=True)
    if strip:
        console.print("--strip: ignored for LFS images, as luac.cross does", style="dim")
    for name in _repeated([module_name(b"@" + file.encode()).decode() for file in content]):
        console.print(f"warning: several modules {name!r}: the first one is found, the others never", style="yellow")
    console.print(f"{output}: {len(content)} modules, {image.size} bytes in flash, {len(data)} bytes as file")


def _repeated(names: list[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


@lfs.command("strings", context_settings=CONTEXT)
@click.argument("sources", nargs=-1, required=True, metavar="FILE...")
@click.option("-o", "--output", default="", metavar="FILE", help="Write them there, for build --include-strings.")
def strings_command(sources: tuple[str, ...], output: str) -> None:
    """Which strings the image should hold besides its modules' own, and what RAM that saves.

    The modules are run on the reference VM, from an image of them.
    """
    from harness.formats.lfs import target_layout
    from harness.reference.nodemcu.lfs_build import read_sources
    from harness.reference.nodemcu.lfs_strings import advise
    from harness.shown import Terminal

    advice = advise(read_sources([Path(name) for name in sources]))
    console = Terminal()
    for text in advice.modules:
        console.print(f"{target_layout.string(len(text)):6}  {repr(text)[1:]}", markup=False)
    console.print(f"{len(advice.modules)} strings that the modules make: {advice.saved} bytes of RAM saved, measured")
    console.print(f"{len(advice.firmware)} that the firmware makes at its start: {advice.firmware_saved} bytes saved")
    if not output:
        return
    lines = [text for text in advice.strings if text and not set(text) & set(b"\r\n")]  # one a line
    try:
        Path(output).write_bytes(b"".join(text + b"\n" for text in lines))
    except OSError as problem:
        raise UsageError(f"cannot write {output!r}: {problem.strerror}", hint="name another file with -o") from None


@lfs.command("inspect", context_settings=CONTEXT)
@click.argument("image_file", metavar="IMAGE")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--strings", "show_strings", is_flag=True, help="List the strings, too.")
def inspect_command(image_file: str, as_json: bool, show_strings: bool) -> None:
    """Modules and strings of an image, and the RAM that it saves."""
    from rich.table import Table

    from harness.formats.lfs.read import read_image
    from harness.reference.nodemcu.lfs_build import read_sources
    from harness.reference.nodemcu.lfs_cost import costs
    from harness.results.report.json_report import write_json
    from harness.shown import Terminal

    data = read_sources([Path(image_file)])[str(Path(image_file))]
    image = read_image(data)
    if as_json:
        write_json("-", _as_json(image, len(data)))
        return
    console = Terminal()
    kind = f"absolute at {image.base:#x}" if image.base else "relocatable"
    numbers = "integer" if image.integer else "float"
    console.print(f"{kind}, {numbers}, built {image.time}: {image.size} bytes in flash, {len(data)} bytes as file")
    console.print(f"{len(image.strings)} strings in {image.buckets} buckets, {len(image.modules)} modules")
    console.print("RAM in bytes:")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("module", "functions", "prototypes", "strings", "from file", "from LFS", "saved"):
        table.add_column(column, justify="left" if column == "module" else "right", no_wrap=True)
    listed = costs(image.modules, integer=image.integer)
    for cost in listed:
        row = (cost.functions, cost.prototypes, cost.strings, cost.in_ram, cost.from_lfs, cost.saved)
        table.add_row(cost.name, *map(str, row))
    sums = [sum(c.in_ram for c in listed), sum(c.from_lfs for c in listed), sum(c.saved for c in listed)]
    table.add_row("all", "", "", "", *map(str, sums))
    console.print(table)
    if show_strings:
        for text in image.strings:
            console.print(repr(text)[1:], markup=False)


def _as_json(image: LfsImage, file_size: int) -> dict[str, Any]:
    from harness.reference.nodemcu.lfs_cost import costs

    return {
        "flash_bytes": image.size,
        "file_bytes": file_size,
        "absolute": image.base or None,
        "integer": image.integer,
        "time": image.time,
        "buckets": image.buckets,
        "strings": [text.decode("utf-8", "backslashreplace") for text in image.strings],
        "modules": [
            {
                "name": cost.name,
                "functions": cost.functions,
                "prototype_bytes": cost.prototypes,
                "string_bytes": cost.strings,
                "ram_from_file": cost.in_ram,
                "ram_from_lfs": cost.from_lfs,
                "ram_saved": cost.saved,
            }
            for cost in costs(image.modules, integer=image.integer)
        ],
    }
