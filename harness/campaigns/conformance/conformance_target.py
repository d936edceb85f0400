"""The language VM that ``--on`` names: the reference, a native build, a build by path, or a board."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.inventory.model import Board
from harness.reference.engine.memory_layout import LayoutUnknown
from harness.reference.engine.native_build import ENVIRONMENT, find_native, is_native
from harness.runtimes.interface import Runtime

#: Told what is being done, as :data:`harness.bench.attach.Report`.
Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Request:
    """``name`` as given; ``heap`` in bytes for a VM of this machine, None for its own; ``flash`` boards first."""

    name: str
    heap: int | None = None
    flash: bool = False


@contextmanager
def opened(request: Request, board: Callable[[str], tuple[Board, Path]], report: Report) -> Iterator[Runtime]:
    """The VM, ready; given back at the end. ``board`` looks up a board's id and the bench's state folder.

    A name that is a file's is taken for a build. Raises UsageError for a build that is none, and what ``board``
    and :func:`harness.bench.attach.attach` raise.
    """
    path = Path(request.name)
    if request.name == "reference":
        with _reference(request, None, report) as runtime:
            yield runtime
    elif request.name == "native" or is_native(path):
        with _native(request, path) as runtime:
            yield runtime
    elif path.is_file():
        with _reference(request, path, report) as runtime:
            yield runtime
    else:
        with _board(request, board, report) as runtime:
            yield runtime


@contextmanager
def _reference(request: Request, build: Path | None, report: Report) -> Iterator[Runtime]:
    from harness.reference.vm import DEFAULT_HEAP, ReferenceVm

    module = None
    if build is not None:
        module = build.read_bytes()
        if not module.startswith(b"\0asm"):
            raise UsageError(
                f"{build} is neither a WASI build nor an executable", hint="give a build of MicroPython, or a board"
            )
    try:
        vm = ReferenceVm(
            heap_size=request.heap or DEFAULT_HEAP, module=module, progress=lambda text: report(text, 0, 0)
        )
    except LayoutUnknown as problem:
        raise UsageError(f"{build or 'the reference VM'}: {problem}") from None
    with vm:
        yield vm


@contextmanager
def _native(request: Request, path: Path) -> Iterator[Runtime]:
    from harness.reference.native_reference import NativeVm

    executable = find_native() if request.name == "native" else path
    if executable is None:
        raise UsageError(
            "there is no native build of MicroPython here", hint=f"give its path, or name it by {ENVIRONMENT}"
        )
    with NativeVm(executable, heap_size=request.heap) as vm:
        yield vm


@contextmanager
def _board(request: Request, board: Callable[[str], tuple[Board, Path]], report: Report) -> Iterator[Runtime]:
    from harness.bench.attach import Options, attach

    entry, state = board(request.name)
    if request.heap is not None:
        raise UsageError(f"--heap does not go with a board: the heap of {request.name} is its firmware's")
    attached = attach(entry, Options(state, flash=request.flash), report)
    try:
        yield attached.runtime
    finally:
        attached.close()
