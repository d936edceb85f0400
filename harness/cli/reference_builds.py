"""``harness reference build``, ``list``, ``info`` and ``remove``: reference VMs from source trees."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import CONTEXT, json_option
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.reference.own_tree.build import Build, Request


def _defines(pairs: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name.isidentifier():
            raise UsageError(f"--define {pair!r} names no macro", hint="write --define MICROPY_FLOAT_IMPL=1")
        found[name] = value if equals else "1"
    return found


@click.command("build", context_settings=CONTEXT)
@click.argument("tree", type=click.Path(path_type=Path))
@click.option("--board", required=True, metavar="PORT/BOARD", help="The board in the tree: esp8266/ESP8266_GENERIC.")
@click.option("--variant", default="", metavar="NAME", help="The board's variant: FLASH_1M.")
@click.option("--header", type=click.Path(path_type=Path), metavar="FILE", help="Read in place of mpconfigport.h.")
@click.option("--define", "defines", multiple=True, metavar="NAME=VALUE", help="As the build's command line has it.")
@click.option("--manifest", type=click.Path(path_type=Path), metavar="FILE", help="What is frozen into it.")
@click.option(
    "--build-folder",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where the firmware itself was built: its names in ROM are read there, exactly.",
)
@click.option(
    "--sources",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="More C sources of the firmware.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Also write it to a file.")
@click.option("--settings", is_flag=True, help="Show every setting, those too that were taken as they are.")
@json_option
def build_command(
    tree: Path,
    board: str,
    variant: str,
    header: Path | None,
    defines: tuple[str, ...],
    manifest: Path | None,
    build_folder: Path | None,
    sources: tuple[Path, ...],
    output: Path | None,
    settings: bool,
    json_file: str,
) -> None:
    """Build a reference VM from the MicroPython source tree TREE, with the settings of one of its boards.

    Takes half a minute, once: it is kept by content. Nothing is written into the tree.
    """
    from rich.text import Text

    from harness.reference.own_tree import kept
    from harness.reference.own_tree.build import Request
    from harness.reference.own_tree.tree import find_firmware, open_tree
    from harness.results.report.json_report import write_json
    from harness.shown import Terminal, say

    request: Request = Request(
        find_firmware(open_tree(tree), board, variant),
        header=header,
        defines=_defines(defines),
        manifest=manifest,
        built=build_folder,
        sources=sources,
    )
    console = Terminal(stderr=True)
    module, said, was_there = kept.built(request, lambda text: console.print(Text(text, style="dim")))
    _show(said, everything=settings)
    say(f"{'kept from before' if was_there else f'built in {said.seconds:g} s'}; for boards.yaml:")
    say(f"  reference: {{built: {said.key[:12]}}}")
    if output is not None:
        try:
            output.write_bytes(module)
        except OSError as problem:
            raise UsageError(f"{str(output)!r} cannot be written: {problem.strerror}") from None
    if json_file:
        write_json(json_file, said.described())


@click.command("list", context_settings=CONTEXT)
@json_option
def list_command(json_file: str) -> None:
    """List the references that were built on this computer."""
    from harness.reference.own_tree import kept
    from harness.results.report.json_report import write_json
    from harness.shown import say

    builds = kept.all_kept()
    for each in builds:
        say(f"{each.key[:12]}  {each.version:8} {each.firmware}")
    if not builds:
        say("none was built here; harness reference build TREE --board PORT/BOARD makes one")
    if json_file:
        write_json(json_file, [each.described() for each in builds])


@click.command("info", context_settings=CONTEXT)
@click.argument("name")
@json_option
def info_command(name: str, json_file: str) -> None:
    """Show what the built reference NAME was made of: its settings, and which of the board's it replaced, and why.

    NAME is PORT/BOARD, PORT/BOARD@VERSION, a version, the beginning of its key, or a file.
    """
    from harness.reference.own_tree import kept
    from harness.results.report.json_report import write_json

    _, said = kept.from_file(Path(name)) if Path(name).is_file() else kept.find(name)
    _show(said, everything=True)
    if json_file:
        write_json(json_file, said.described())


@click.command("remove", context_settings=CONTEXT)
@click.argument("name")
def remove_command(name: str) -> None:
    """Remove the built reference NAME from the cache."""
    from harness.reference.own_tree import kept
    from harness.shown import say

    said = kept.remove(name)
    say(f"removed: {said.label}")


def _show(said: Build, *, everything: bool) -> None:
    from harness.shown import say

    taken = [each for each in said.settings if not each.why]
    replaced = [each for each in said.settings if each.why]
    say(said.label)
    say(f"{said.names} names in ROM from {said.names_from}; frozen: {said.frozen or 'nothing'}")
    say(f"{len(taken)} settings of the board taken, {len(replaced)} replaced or left out:")
    for why in dict.fromkeys(each.why for each in replaced):
        say(f"  {why}:")
        for each in replaced:
            if each.why == why:
                ours = "not defined" if each.ours is None else each.ours or "defined"
                say(f"    {each.name}: {each.board or 'not defined'} -> {ours}")
    if everything:
        say("  taken:")
        for each in taken:
            say(f"    {each.name} {each.board}")
