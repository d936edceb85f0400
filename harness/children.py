"""Other programs that are asked to do something: bounded in time as a whole and in output, and gone when we are.

A child gets a process group of its own, which is ended when its time is up, whatever it has started. On Linux it ends
when the thread that started it does, however that ended: prctl(2), PR_SET_PDEATHSIG.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import multiprocessing.process
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
#: How often to look whether a child has ended while something that it has started holds its output, in seconds.
_LOOK = 0.05
#: What is kept of a child's output, in bytes of each stream: the end.
OUTPUT_LIMIT = 100_000

#: How long a process whose parent is gone may take to give back what it holds, in seconds.
GRACE = 5.0

_prctl: Callable[[int, int], int] | None = None
if sys.platform == "linux":
    with contextlib.suppress(OSError, AttributeError):
        _prctl = ctypes.CDLL(None).prctl


@dataclass(frozen=True)
class Ended:
    """``code`` as of :class:`subprocess.Popen`; of the outputs the end, :data:`OUTPUT_LIMIT` bytes or as was asked."""

    code: int
    output: bytes
    errors: bytes


def run_child(
    arguments: Sequence[str | Path],
    *,
    timeout: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    errors_apart: bool = True,
    limit: int = OUTPUT_LIMIT,
) -> Ended:
    """Run a program without a shell and without input, and wait for its end; ``timeout`` in seconds for all of it.
    The last ``limit`` bytes of each stream are kept.

    Its end is its own: what it has started and leaves running does not hold this up. Raises OSError when it cannot be
    started, subprocess.TimeoutExpired when it has not ended in time; then it and all that it has started are killed.
    """
    end = time.monotonic() + timeout
    child = subprocess.Popen(
        [str(argument) for argument in arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if errors_apart else subprocess.STDOUT,
        cwd=cwd,
        env=env,
        start_new_session=True,
        preexec_fn=end_with_parent(),
    )
    taken: dict[int, bytearray] = {}
    try:
        with selectors.DefaultSelector() as selector:
            for stream in filter(None, (child.stdout, child.stderr)):
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ)
                taken[stream.fileno()] = bytearray()
            while True:
                ended = child.poll() is not None
                if not ended and time.monotonic() >= end:
                    raise subprocess.TimeoutExpired(list(map(str, arguments)), timeout)
                ready = selector.select(0 if ended else _LOOK) if selector.get_map() else []
                for key, _ in ready:
                    data = os.read(key.fd, 65536)
                    if not data:
                        selector.unregister(key.fileobj)
                    taken[key.fd] += data
                    del taken[key.fd][:-limit]
                if ended and (not ready or time.monotonic() >= end):
                    break
                if not ended and not selector.get_map():
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        child.wait(min(_LOOK, max(0.0, end - time.monotonic())))
        outputs = list(taken.values())
        return Ended(child.returncode, bytes(outputs[0]), bytes(outputs[1]) if errors_apart else b"")
    finally:
        kill_group(child)
        for stream in filter(None, (child.stdout, child.stderr)):
            stream.close()


def kill_group(child: subprocess.Popen[bytes]) -> None:
    """End a child that has a process group of its own, if it has not ended, and all that is in the group."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def end_with_parent() -> Callable[[], None]:
    """For a child's ``preexec_fn``: it is killed when the thread that starts it ends. Nothing where there is no such
    thing."""
    parent = os.getpid()

    def in_child() -> None:
        if _prctl is not None:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it was over before that
                os._exit(1)

    return in_child


def interrupted_with_parent() -> None:
    """In a process that multiprocessing has made: an interrupt as soon as its parent is gone, or at once when it is
    gone already, so that it still gives back what it holds; :data:`GRACE` seconds later it has ended anyhow."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_late, args=(parent,), name="end with parent", daemon=True).start()
        if not parent.is_alive():
            raise KeyboardInterrupt


def _end_late(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    time.sleep(GRACE)
    os._exit(130)
