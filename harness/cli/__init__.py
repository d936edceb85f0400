"""``harness …``: the commands. Exit codes: 0 pass, 1 firmware failed, 2 usage, 3 bench fault.

A command is one file here. It is imported when it is called: ``harness --help`` needs click and this page.
"""

from __future__ import annotations

import signal
from importlib import import_module
from typing import Any

import click

from harness import __version__
from harness.cli.options import CONTEXT
from harness.errors import EXIT_BENCH_FAULT, EXIT_INTERRUPTED, HarnessError, Interrupted

#: Each command, in the order of ``--help``, with the line that stands there. Its file here, and the command in it,
#: have its name.
COMMANDS = {
    "init": "a bench file to begin with: what is plugged in, or virtual boards",
    "new": "a suite of your own to begin with",
    "discover": "what is plugged in; --write adds it to a boards.yaml",
    "doctor": "what on this machine is in the way of a bench",
    "boards": "the boards of the bench: where, who holds them, how they are",
    "wiring": "the wires that boards.yaml claims, checked on the board",
    "power": "switch a board's power",
    "run": "flash the boards, run the suites, judge every figure",
    "flash": "only flash what differs, and check who answers",
    "nightly": "all boards at once, unattended, with reports",
    "qualify": "a certificate for one board with one firmware",
    "verify": "whether a certificate still says what was recorded",
    "watch": "a board's console with times, over resets and sleeps",
    "history": "figures over all runs: what changed, since when",
    "diff": "what changed from one run to another",
    "bisect": "the first of some images at which a figure changed",
    "store": "what is in a results store; export, import, merge, send, prune",
    "serve": "the bench, its runs and figures as pages to read in a browser",
    "virtual": "virtual boards that stay up, for esptool and mpremote",
    "reference": "the host reference VM: run a program, build it from a source tree",
    "explore": "a program with its interrupt at every point",
    "rom": "modules in a board's flash, executed in place: list, push, pop",
    "lfs": "Lua modules to a NodeMCU flash image",
    "conformance": "upstream's test programs on a VM",
    "selfcheck": "seeded defects that the suites must catch",
    "soak": "injected faults of the bench that must end well",
    "replay": "a transcript against the harness's own code, without a board",
}


class _Commands(click.Group):
    """Loads a command when it is called; turns the harness's own errors into one message and their exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f"harness.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        try:
            return super().make_context(*arguments, **options)
        except KeyboardInterrupt:
            _complain("harness: interrupted")
            raise click.exceptions.Exit(EXIT_INTERRUPTED) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except HarnessError as problem:
            _complain(f"harness: {problem}")
            ctx.exit(problem.exit_code)
        except click.ClickException as problem:
            words = "".join(c if c.isprintable() or c == "\n" else "?" for c in problem.format_message())
            context = getattr(problem, "ctx", None)
            raise click.UsageError(words, context) if isinstance(problem, click.UsageError) else problem from None
        except MemoryError:
            _complain("harness: this computer has no memory left")
            ctx.exit(EXIT_BENCH_FAULT)
        except KeyboardInterrupt as stopped:
            _complain(
                "; ".join(["harness: interrupted", *([stopped.what] if isinstance(stopped, Interrupted) else [])])
            )
            ctx.exit(EXIT_INTERRUPTED)


def _complain(text: str) -> None:
    from rich.text import Text

    from harness.shown import Terminal

    Terminal(stderr=True).print(Text(text), soft_wrap=True)


def start() -> None:
    """The command ``harness``. Ctrl-C after its end, while Python is tidied up, ends it at once."""
    try:
        main(prog_name="harness")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@click.group(cls=_Commands, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="harness")
def main() -> None:
    """Flash the boards of a bench, run the suites, hold every figure against the host reference VM.

    Exit codes: 0 pass, 1 the firmware failed, 2 usage, 3 a fault of the bench. 'harness COMMAND --help' tells more.
    """
