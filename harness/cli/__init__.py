"""``harness …``: the commands. Exit codes: 0 pass, 1 firmware failed, 2 usage, 3 bench fault."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness import __version__
from harness.cli.board_health import board_commands
from harness.cli.conformance import conformance
from harness.cli.explore import explore_command
from harness.cli.history import bisect_command, diff_command, history_command
from harness.cli.lfs import lfs_command
from harness.cli.nightly import nightly_command
from harness.cli.qualify import qualify_command, verify_command
from harness.cli.replay import replay_command
from harness.cli.selfcheck import selfcheck_command
from harness.cli.setup import COMMANDS as SETUP_COMMANDS
from harness.cli.soak import soak_command
from harness.cli.store import store_group
from harness.cli.watch import watch_command
from harness.errors import HarnessError, UsageError
from harness.inventory.load import load_bench
from harness.inventory.model import Bench, Board
from harness.paths import state_dir
from harness.plugin import bench_file, chosen_boards
from harness.results.report.json_report import write_json

if TYPE_CHECKING:
    from harness.reference.engine.heap_map import HeapMap

_CONTEXT = {"help_option_names": ["-h", "--help"]}

_bench_option = click.option("--bench", "bench", default="", metavar="FILE", help="Bench file (default: boards.yaml).")
_json_option = click.option(
    "--json", "json_file", default="", metavar="FILE", help="Also write the result as JSON ('-': standard output)."
)


class _Group(click.Group):
    """Turns the harness's own errors into one message and their exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except HarnessError as problem:
            Console(stderr=True).print(Text(f"harness: {problem}"), soft_wrap=True)
            ctx.exit(problem.exit_code)
        except KeyboardInterrupt:
            Console(stderr=True).print("harness: interrupted; what had finished is in the store")
            ctx.exit(130)


@click.group(cls=_Group, context_settings=_CONTEXT)
@click.version_option(__version__, prog_name="harness")
def main() -> None:
    """Flash the boards of a bench, run the suites, hold every figure against the host reference VM.

    \b
    harness discover                      what is plugged in; --write makes a boards.yaml of it
    harness doctor                        what on this machine is in the way of a bench
    harness run                           all boards of boards.yaml, all suites
    harness run --boards vesp32 reload    one board, one suite
    harness virtual up                    virtual boards that stay up, for esptool and mpremote
    harness reference run PROGRAM         a program on the host reference VM
    harness explore PROGRAM               a program with its interrupt at every point
    harness nightly                       all boards at once, unattended, with reports
    harness qualify BOARD                 a certificate for one board with one firmware
    harness verify CERTIFICATE            whether it still says what was recorded
    harness lfs build -o lfs.img *.lua    modules to a NodeMCU flash image
    harness watch BOARD                   its console with times, over resets and sleeps
    harness selfcheck                     seeded defects that the suites must catch
    harness soak --faults                 injected faults of the bench that must end well
    harness replay FILE                   a transcript against the harness's own code, without a board
    harness conformance DIR --on VM       upstream's test programs on a VM
    harness history BOARD                 figures over all runs: what changed, since when
    """


def _load(bench: str) -> tuple[Path, Bench]:
    file = bench_file(bench)
    if not file.exists():
        raise UsageError(
            f"there is no bench file {str(file)!r}", hint="name one with --bench, or go to the folder of boards.yaml"
        )
    return file, load_bench(file)


main.add_command(conformance)
main.add_command(explore_command)
main.add_command(lfs_command)
main.add_command(selfcheck_command)
main.add_command(qualify_command)
main.add_command(nightly_command)
main.add_command(verify_command)
main.add_command(history_command)
main.add_command(diff_command)
main.add_command(bisect_command)
main.add_command(store_group)
for _command in SETUP_COMMANDS:
    main.add_command(_command)
main.add_command(soak_command)
main.add_command(watch_command)
main.add_command(replay_command)


# -- run -----------------------------------------------------------------------------------------


@main.command(context_settings=_CONTEXT)
@click.argument("suites", nargs=-1)
@_bench_option
@click.option("--boards", default="", metavar="IDS", help="Boards or tags, comma separated (default: all).")
@click.option("-k", "keyword", default="", metavar="EXPR", help="Only scenarios whose names match (as in pytest).")
@click.option("--no-flash", is_flag=True, help="Test the firmware that the boards hold.")
@click.option("--variant", default="", metavar="NAME", help="Firmware variant for the virtual boards.")
@click.option("--jobs", default=8, show_default=True, help="Boards at the same time.")
@click.option(
    "--wait", default=300.0, show_default=True, metavar="SECONDS", help="How long to wait for a board that is busy."
)
@click.option("--store", default="", metavar="FILE|URL", help="Results store (default: .harness/results.sqlite).")
@click.option("--junit", default="", metavar="FILE", help="Also write the result as JUnit XML.")
@click.option("--html", default="", metavar="FILE", help="Also write the result as an HTML page.")
@click.option("--figures", is_flag=True, help="Show every figure in the table.")
@_json_option
def run(
    suites: tuple[str, ...],
    bench: str,
    boards: str,
    keyword: str,
    no_flash: bool,
    variant: str,
    jobs: int,
    wait: float,
    store: str,
    junit: str,
    html: str,
    figures: bool,
    json_file: str,
) -> None:
    """Flash the boards, run the SUITES (default: all), judge every figure, and keep the results."""
    from harness.bench.firmware import check_images
    from harness.campaigns.bench_run import RunRequest, run_bench
    from harness.results.database import location
    from harness.results.report.html import write_html
    from harness.results.report.json_report import run_to_json
    from harness.results.report.junit import write_junit
    from harness.results.report.plots import trends_of
    from harness.results.report.terminal import LiveView, print_run, terminal
    from harness.results.store import Store
    from harness.virtual.defects import DEFECTS
    from harness.virtual.firmware import require_variant

    file, loaded = _load(bench)
    require_variant(variant)
    chosen = chosen_boards(loaded, boards)
    if variant:
        runtime = DEFECTS[variant].runtime
        chosen = [board for board in chosen if board.runtime == runtime]
        if not chosen:
            raise UsageError(f"{variant} is a variant of {runtime}, which none of the chosen boards has")
    if not no_flash:
        check_images(chosen)
    state = state_dir(file)
    path = location(store, state / "results.sqlite")
    request = RunRequest(
        bench_file=file,
        boards=chosen,
        state=state,
        store=path,
        suites=suites,
        keyword=keyword,
        flash=not no_flash,
        variant=variant,
        jobs=jobs,
        wait=wait,
        command=" ".join(["harness", *sys.argv[1:]]),
    )
    console = terminal(to_stderr=json_file == "-")
    with LiveView(request.boards, console) as view:
        number = run_bench(request, view)
    results = Store(path)
    record = results.load_run(number)
    trends = trends_of(record, results) if html else {}
    results.close()
    print_run(record, console, all_figures=figures)
    if json_file:
        write_json(json_file, run_to_json(record))
    if junit:
        write_junit(record, Path(junit))
    if html:
        write_html(record, Path(html), trends, state)
    sys.exit(record.exit_code)


# -- flash ---------------------------------------------------------------------------------------


@main.command(context_settings=_CONTEXT)
@_bench_option
@click.option("--boards", default="", metavar="IDS", help="Boards or tags, comma separated (default: all).")
@click.option("--variant", default="", metavar="NAME", help="Firmware variant for the virtual boards.")
@_json_option
def flash(bench: str, boards: str, variant: str, json_file: str) -> None:
    """Flash the boards with their firmware (only what differs), and check that it answers."""
    from rich.progress import BarColumn, Progress, TextColumn

    from harness.bench.attach import Options, attach
    from harness.bench.firmware import check_images

    file, loaded = _load(bench)
    check_images(chosen_boards(loaded, boards))
    options = Options(state_dir(file), variant=variant or None, purpose="harness flash")
    results: list[dict[str, Any]] = []
    code = 0
    console = Console(stderr=json_file == "-")
    for board in chosen_boards(loaded, boards):
        columns = (TextColumn("{task.fields[board]}"), BarColumn(), TextColumn("{task.description}"))
        problem: HarnessError | None = None
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("", board=board.id, total=None)

            def report(step: str, done: int, total: int) -> None:
                progress.update(task, description=step, completed=done, total=total or None)  # noqa: B023

            try:
                attached = attach(board, options, report)
            except HarnessError as found:
                problem = found
        if problem is not None:
            console.print(Text(f"{board.id}: {problem}", style="magenta"), soft_wrap=True)
            code = max(code, problem.exit_code)
            results.append({"id": board.id, "outcome": "error", "reason": str(problem)})
            continue
        done = attached.flashed
        line = f"{board.id}: {attached.firmware.name} {attached.firmware.version}"
        if done is not None:
            line += f": {done.written} bytes written, {done.unchanged} unchanged, {done.seconds:.2f} s"
        warnings = done.warnings if done else []
        console.print(Text("\n  ".join([line, *warnings])), soft_wrap=True)
        results.append(
            {
                "id": board.id,
                "outcome": "pass",
                "reason": "",
                "firmware": vars(attached.firmware),
                "written": done.written if done else 0,
                "unchanged": done.unchanged if done else 0,
                "seconds": round(done.seconds, 3) if done else 0,
                "warnings": warnings,
            }
        )
        attached.close()
    if json_file:
        write_json(json_file, {"boards": results})
    sys.exit(code)


# -- boards --------------------------------------------------------------------------------------


@main.group(invoke_without_command=True, context_settings=_CONTEXT)
@_bench_option
@click.option("--ports", is_flag=True, help="List the serial ports of this machine instead.")
@_json_option
@click.pass_context
def boards(context: click.Context, bench: str, ports: bool, json_file: str) -> None:
    """List the boards of the bench: where each is now, who holds it, and how it is."""
    if context.invoked_subcommand:
        return
    from harness.inventory.discover import list_ports
    from harness.results.report.terminal import terminal

    console = terminal(to_stderr=json_file == "-")
    if ports:
        found = list_ports()
        table = Table(box=None, padding=(0, 2))
        for heading in ("device", "vid:pid", "usb_serial", "usb_location", "description"):
            table.add_column(heading)
        for port in found:
            table.add_row(*(Text(str(getattr(port, name) or "-")) for name in _PORT_FIELDS))
        console.print(table if found else "no serial ports")
        if json_file:
            write_json(json_file, {"ports": [{n: getattr(p, n) for n in _PORT_FIELDS} for p in found]})
        return
    file, loaded = _load(bench)
    rows = [_board_row(board, state_dir(file)) for board in loaded.boards]
    table = Table(box=None, padding=(0, 2), title=Text(f"{loaded.name} ({file})"), title_justify="left")
    for heading in ("board", "chip", "runtime", "where", "state", "held by", "health"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[key]) for key in ("id", "chip", "runtime", "where", "state", "holder", "health")))
    console.print(table)
    if json_file:
        write_json(json_file, {"bench": loaded.name, "boards": rows})


_PORT_FIELDS = ("device", "vid_pid", "usb_serial", "usb_location", "description")


def _board_row(board: Board, state: Path) -> dict[str, str]:
    from harness.bench.device_of import device_of
    from harness.cli.board_health import health_words, held

    where, status = device_of(board, state).whereabouts()
    return {
        "id": board.id,
        "chip": board.chip,
        "runtime": board.runtime,
        "where": where,
        "state": status,
        "holder": held(board, state),
        "health": health_words(board, state),
    }


for _command in board_commands(_load, state_dir, chosen_boards):
    boards.add_command(_command)


# -- virtual -------------------------------------------------------------------------------------


@main.group(context_settings=_CONTEXT)
def virtual() -> None:
    """The virtual boards: chips that speak the real boot protocols, without hardware."""


@virtual.command("up", context_settings=_CONTEXT)
@_bench_option
@click.option("--boards", default="", metavar="IDS", help="Boards or tags, comma separated (default: all virtual).")
@click.option("--blank", is_flag=True, help="Leave the flash as it is: do not write the firmware first.")
@_json_option
def virtual_up(bench: str, boards: str, blank: bool, json_file: str) -> None:
    """Start the virtual boards and keep them up until Ctrl-C, for esptool, mpremote or a client of yours.

    With --json FILE, their addresses are written to FILE once they are ready: {"vesp32": {"url": ..., "pty": ...}}.
    """
    import signal

    from harness.bench.attach import Options, attach
    from harness.bench.virtual_device import virtual_spec
    from harness.virtual.bench import start

    file, loaded = _load(bench)
    state = state_dir(file)
    chosen = [board for board in chosen_boards(loaded, boards) if board.virtual is not None]
    if not chosen:
        raise UsageError("there is no virtual board among those chosen")
    console = Console(stderr=json_file == "-")
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    up = []
    try:
        for board in chosen:
            up.append(start(virtual_spec(board, state)))
            if not blank:
                attach(board, Options(state, purpose="harness virtual up"), lambda *_: None).close()
        for one in up:
            console.print(Text.assemble((one.id, "bold"), f"\n  {one.url}", f"\n  {one.pty}" if one.pty else ""))
        tries = {
            _client(board, one.pty or one.url): None for board, one in zip(chosen, up, strict=True)
        }  # one line for each kind of board, in their order
        console.print(
            Text(
                "\nTry:\n  " + "\n  ".join(list(tries)[:6]) + "\n"
                "The rfc2217 address carries DTR and RTS; the other one is quicker and has no reset line.\n"
                "Ctrl-C stops the boards; their flash is kept."
            ),
            soft_wrap=True,
        )
        if json_file:
            write_json(json_file, {one.id: {"url": one.url, "pty": one.pty} for one in up})
        done.wait()
    finally:
        for one in up:
            one.stop()


# -- reference -----------------------------------------------------------------------------------


def _client(board: Board, port: str) -> str:
    """A command of somebody else's that speaks to such a board."""
    from harness.runtimes.traits import traits_of

    if command := traits_of(board.runtime).client_command:
        return command.format(port=port)
    if board.chip.startswith("stm32"):
        return f"stm32flash -m 8n1 {port}"
    return f"esptool --port {port} flash-id"


@main.group(context_settings=_CONTEXT)
def reference() -> None:
    """The host reference VM: upstream MicroPython as WebAssembly, metered and deterministic."""


@reference.command("run", context_settings=_CONTEXT)
@click.argument("program", type=click.Path(path_type=Path))
@click.option("--heap", default=57344, show_default=True, metavar="BYTES", help="Raw heap, tables included.")
@click.option("--timeout", default=60.0, show_default=True, metavar="SECONDS", help="Host time the program may take.")
@click.option("--heap-map", "picture", is_flag=True, help="Draw the heap after the program, and after a collection.")
@click.option("--heap-svg", "svg_file", default="", metavar="FILE", help="Write the same picture as SVG.")
@_json_option
def reference_run(program: Path, heap: int, timeout: float, picture: bool, svg_file: str, json_file: str) -> None:
    """Run PROGRAM on the reference VM: its output, then its metered cost and heap.

    A program of fixtures/programs/ may be given by its name; it gets the measuring agent.
    """
    from harness.reference.vm import ReferenceVm
    from harness.runtimes.program import agent_source, read_program

    if not 4096 <= heap <= 16 * 1024 * 1024:
        raise UsageError(f"--heap {heap} is not possible", hint="give 4096 to 16777216 bytes")
    source, measured = read_program(program, "programs")
    console = Console(stderr=True)
    with ReferenceVm(heap_size=heap, progress=lambda text: console.print(Text(text, style="dim"))) as vm:
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
    from harness.results.report.terminal import plain
    from harness.runtimes.records import decode

    observations = []
    output = result.stdout
    if measured and not result.stderr:
        decoded = decode(output)
        output = decoded.other
        observations = [
            {"name": o.name, "kind": o.kind, "unit": o.unit, "value": o.value} for o in decoded.observations
        ]
    click.echo(plain(output.replace(b"\r\n", b"\n").decode("utf-8", "replace"), 1 << 20), nl=False)
    for o in observations:
        click.echo(f"{o['kind']:6} {o['name']:28} {o['value']} {o['unit']}")
    click.echo(plain(result.stderr.replace(b"\r\n", b"\n").decode("utf-8", "replace"), 1 << 16), nl=False, err=True)
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
