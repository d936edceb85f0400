"""Running a program that switches something: an argument list, never a shell; bounded in time and output."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from harness.children import run_child
from harness.errors import BenchFault, UsageError

_MAX_OUTPUT = 2000


def run_command(arguments: Sequence[str], *, what: str, timeout: float) -> str:
    """What the program printed, as plain text. ``timeout`` in seconds.

    Raises UsageError when it is not installed, BenchFault when it fails or takes too long; ``what`` begins the
    message.
    """
    try:
        done = run_child(arguments, timeout=timeout, errors_apart=False)
    except FileNotFoundError:
        raise UsageError(f"{what}: there is no program {arguments[0]!r}", hint="install it, or give its path") from None
    except subprocess.TimeoutExpired:
        raise BenchFault(f"{what}: {arguments[0]} did not end within {timeout:g} s", hint="try it by hand") from None
    except OSError as problem:
        raise UsageError(f"{what}: {arguments[0]!r} cannot be run: {problem.strerror}") from None
    text = done.output[-_MAX_OUTPUT:].decode("utf-8", "replace")
    text = "".join(c if c.isprintable() or c == "\n" else "?" for c in text).strip()
    if done.code != 0:
        said = text.splitlines()[-1][:200] if text else "nothing"
        raise BenchFault(f"{what}: {arguments[0]} ended with code {done.code} and said: {said}")
    return text
