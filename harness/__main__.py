"""The command ``harness``, which is the same as ``python -m harness``.

Nothing is imported before Ctrl-C is answered for: imports alone take some tenths of a second.
"""

import sys


def start() -> None:
    """Run the command line, and end with its exit code."""
    try:
        from harness.standard_streams import StandardStreams

        streams = StandardStreams()
        try:
            from harness.cli import start as command_line

            command_line()
        except SystemExit as end:
            raise SystemExit(streams.ended(end.code)) from None
    except KeyboardInterrupt:  # before there was a command, or after it
        sys.stderr.write("harness: interrupted\n")
        _end_interrupted()
    except SystemExit as end:
        if end.code != 130:
            raise
        _end_interrupted()


def _end_interrupted() -> None:
    """With code 130. Left to itself Python ends by the signal, without a code, where that struck within an ``exec``."""
    import atexit
    import os

    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(130)


if __name__ == "__main__":
    start()
