"""``harness init``: a bench file to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import CONTEXT
from harness.errors import BenchFault, UsageError

#: The first lines of the shipped file, which name a file that a new folder does not have.
_SCHEMA_BESIDE_IT = "# yaml-language-server: $schema=docs/boards.schema.json\n#\n"


@click.command(context_settings=CONTEXT)
@click.option("--virtual", is_flag=True, help="Virtual boards, which need no hardware, and examples as comments.")
@click.option("--bench", "file", default="boards.yaml", show_default=True, metavar="FILE", help="The file to write.")
def init(virtual: bool, file: str) -> None:
    """Write a bench file with comments: the boards that are plugged in, or with --virtual the virtual ones.

    No port is opened. A file that is there already is left as it is.
    """
    target = Path(file)
    if target.exists():
        raise UsageError(
            f"{file!a} is there already, and was left as it is",
            hint=f"'harness discover --write {file}' adds what is newly plugged in",
        )
    if virtual:
        from harness.paths import shipped_bench

        try:
            target.write_text(shipped_bench().read_text("utf-8").removeprefix(_SCHEMA_BESIDE_IT), "utf-8")
        except OSError as problem:
            raise UsageError(f"{file!a} cannot be written: {problem.strerror}") from None
        click.echo(f"{file}: virtual boards; next: harness run")
        return
    from harness.bench.bench_entries import update_bench
    from harness.bench.host_machine import Machine
    from harness.bench.plugged import plugged_in

    changes = update_bench(target, plugged_in(Machine()), {})
    if not changes:
        raise BenchFault(
            "nothing is plugged in that looks like a board, so no bench file was written",
            hint="'harness doctor' says what may be in the way; 'harness discover --probe PORT --write FILE' takes a "
            "port that is not on USB; 'harness init --virtual' begins with virtual boards",
        )
    for change in changes:
        click.echo(f"{change.board} at {change.port}  {change.detail}")
    click.echo(f"{file}: complete chip and firmware; 'harness discover --probe PORT --write {file}' asks a board")
