"""``harness reference``: a program on the host reference VM."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import CONTEXT, Finite, OutputFile, json_option
from harness.cli.reference_builds import build_command, info_command, list_command, remove_command
from harness.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from harness.reference.engine.heap_map import HeapMap


@click.group(context_settings=CONTEXT)
def reference() -> None:
    """The host reference VM: upstream MicroPython as WebAssembly, metered and deterministic.

    It is a prepared build, or one from a firmware's own source tree.
    """


for command in (build_command, list_command, info_command, remove_command):
    reference.add_command(command)


def _module(name: str) -> tuple[str, bytes]:
    """Its name on the VM, and what is in it. Raises UsageError when there is no such module."""
    from harness.paths import fixtures_dir

    shipped = fixtures_dir() / "modules" / f"{name}.py"
    path = Path(name) if Path(name).exists() or not shipped.exists() else shipped
    if path.suffix not in (".py", ".mpy"):
        raise UsageError(
            f"--module {name}: expected a file that ends in .py or .mpy, or one of "
            f"{', '.join(sorted(file.stem for file in shipped.parent.glob('*.py')))}"
        )
    try:
        return path.name, path.read_bytes()
    except OSError as problem:
        raise UsageError(f"--module {name} cannot be read: {problem.strerror}") from None


@reference.command("run", context_settings=CONTEXT)
@click.argument("program", type=click.Path(path_type=Path))
@click.option("--heap", default=57344, show_default=True, metavar="BYTES", help="Raw heap, tables included.")
@click.option("--built", default="", metavar="NAME", help="On a reference that was built (harness reference list).")
@click.option("--chip", default=None, metavar="CHIP", help="With that chip's machine module.")
@click.option(
    "--module",
    "modules",
    multiple=True,
    metavar="FILE",
    help="A module that the program imports: a file, or a name in fixtures/modules/ (uevent). May be repeated.",
)
@click.option(
    "--timeout",
    type=Finite(0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Host time the program may take.",
)
@click.option("--heap-map", "picture", is_flag=True, help="Draw the heap after the program, and after a collection.")
@click.option(
    "--heap-svg", "svg_file", type=OutputFile(), default="", metavar="FILE", help="Write the same picture as SVG."
)
@json_option
def reference_run(
    program: Path,
    heap: int,
    built: str,
    chip: str | None,
    modules: tuple[str, ...],
    timeout: float,
    picture: bool,
    svg_file: str,
    json_file: str,
) -> None:
    """Run PROGRAM on the reference VM: its output, then its metered cost and heap.

    A program of fixtures/programs/ may be given by its name; it gets the measuring agent.
    """
    from rich.text import Text

    from harness.reference.vm import ReferenceVm
    from harness.results.report.json_report import write_json
    from harness.runtimes.program import agent_source, read_program
    from harness.shown import Terminal, say

    if not 4096 <= heap <= 16 * 1024 * 1024:
        raise UsageError(f"--heap {heap} is not possible", hint="give 4096 to 16777216 bytes")
    source, measured = read_program(program, "programs")
    beside = dict(map(_module, modules))
    console = Terminal(stderr=True)
    module = None
    if built:
        from harness.reference.own_tree import kept

        module, _ = kept.find(built)

    def note(text: str) -> None:
        console.print(Text(text, style="dim"))

    with ReferenceVm(heap_size=heap, module=module, chip=chip, progress=note) as vm:
        for name, data in beside.items():
            vm.put(name, data)
        if measured:
            vm.run(agent_source() + "\nINPUT = {}\n")
        before = vm.cost
        result = vm.run(source, timeout=timeout)
        cost = vm.cost - before
        maps = [("after the program", vm.heap_map())] if vm.ended_by is None else []
        heap_now = vm.run("import gc; print(gc.mem_alloc(), gc.mem_free())").stdout.split()
        if maps and (picture or svg_file):
            vm.run("gc.collect()")
            maps.append(("after a collection", vm.heap_map()))
    from harness.runtimes.records import decode
    from harness.shown import plain

    observations = []
    output = result.stdout
    if measured and not result.stderr:
        decoded = decode(output)
        output = decoded.other
        observations = [
            {"name": o.name, "kind": o.kind, "unit": o.unit, "value": o.value} for o in decoded.observations
        ]
    say(plain(output.replace(b"\r\n", b"\n").decode("utf-8", "replace"), 1 << 20), end="")
    for o in observations:
        say(f"{o['kind']:9} {o['name']:28} {o['value']} {o['unit']}")
    say(plain(result.stderr.replace(b"\r\n", b"\n").decode("utf-8", "replace"), 1 << 16), end="", stderr=True)
    allocated, free = (int(part) for part in heap_now) if len(heap_now) == 2 else (0, 0)
    console.print(Text(f"metered cost {cost}; heap {allocated} B used, {free} B free", style="dim"))
    if picture or svg_file:
        _show_heap(maps, program.name, console if picture else None, svg_file)
    if json_file:
        write_json(
            json_file,
            {
                "outcome": "fail" if result.stderr else "pass",
                "cost": cost,
                "heap": {"used": allocated, "free": free},
                "stdout": result.stdout.decode("utf-8", "replace"),
                "stderr": result.stderr.decode("utf-8", "replace"),
                "observations": observations,
            },
        )
    sys.exit(1 if result.stderr else 0)


def _show_heap(maps: list[tuple[str, HeapMap]], program: str, console: Console | None, svg_file: str) -> None:
    from harness.results.report.heap_picture import HeapPicture, heap_svg

    if not maps:
        raise UsageError("there is no heap to draw: the program reset the VM", hint="run one that does not")
    if console is not None:
        console.print(HeapPicture(maps))
    if svg_file:
        try:
            Path(svg_file).write_text(heap_svg(maps, title=f"Heap of {program}"), "utf-8")
        except OSError as problem:
            raise UsageError(
                f"--heap-svg {svg_file!r} cannot be written: {problem.strerror}", hint="give the path of a file"
            ) from None
