"""The reference of a CircuitPython board: :class:`SupervisedVm` as a runtime that scenarios can drive.

As on the board, programs run at the raw REPL; what resets the chip or lets it sleep, and what is run as ``code.py``,
runs as a code file of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.chips import Reset
from harness.errors import BenchFault, FirmwareFailure
from harness.reference.chip_board import ChipReset
from harness.reference.engine.guest_files import Mode
from harness.reference.supervised import CodeRun, SupervisedVm
from harness.reference.supervisor_state import Ended
from harness.runtimes.ask_names import read_facts
from harness.runtimes.circuitpython.circuitpython_board import CODE_FILE, MAKE_FOLDER
from harness.runtimes.interface import Facts, Intervention, Restart, RunResult


class CircuitPythonReference:
    """Implements :class:`harness.runtimes.interface.CodeRuntime` on the host, in virtual time.

    ``region_size`` and ``sleep_memory`` in bytes, as for :class:`SupervisedVm`, which is :attr:`vm`.
    """

    def __init__(
        self,
        *,
        region_size: int,
        sleep_memory: int,
        chip: str,
        progress: Callable[[str], None] = lambda _message: None,
    ) -> None:
        self.vm = SupervisedVm(region_size=region_size, sleep_memory=sleep_memory, chip=chip, progress=progress)
        self._facts: Facts | None = None
        self._waiting = False

    @property
    def facts(self) -> Facts:
        if self._facts is None:
            self._facts = read_facts(lambda source: self.run(source))
        return self._facts

    def run(self, source: str, *, timeout: float = 30.0, interrupt_at: bytes = b"") -> RunResult:
        self._waiting = False
        return self.vm.run(source, timeout=timeout, interrupt_at=interrupt_at)

    def run_code(self, source: str, *, timeout: float = 30.0, interrupt_at: bytes = b"") -> tuple[bytes, ...]:
        self._choose(source)
        runs = self.vm.reload(timeout=timeout, interrupt_at=interrupt_at)
        self._waiting = True
        return _outputs(runs)

    def reload_while_waiting(self, *, timeout: float = 30.0) -> tuple[bytes, ...]:
        if not self._waiting:
            raise BenchFault("the reference does not wait for a key", hint="run_code() leads there")
        return _outputs(self.vm.reload(timeout=timeout))

    def _choose(self, source: str) -> None:
        self.run(MAKE_FOLDER)
        self.put(CODE_FILE, source.encode())
        error = self.run(f"import supervisor\nsupervisor.set_next_code_file({CODE_FILE!r})").stderr
        if error:
            raise FirmwareFailure(f"no code file can be chosen: {error.decode('utf-8', 'replace')[-200:]}")

    def run_to_reset(self, source: str, *, within: float = 30.0, intervention: Intervention | None = None) -> Restart:
        self._choose(source)
        vm, board = self.vm, self.vm.board
        last = vm.reload()[-1]
        if last.ended not in (Ended.DEEP_SLEEP, Ended.RESET):
            said = (last.result.stderr or last.result.stdout).decode("utf-8", "replace").strip()[-300:]
            raise FirmwareFailure(f"the program did not reset the chip: {said or 'it ended'}")
        printed = vm.last_output_ns
        if intervention is not None:
            board.timeline.at(printed + round(intervention.after * 1e9), lambda: self._intervene(intervention))
        if board.asleep:
            try:
                vm.sleep_through()
            except ChipReset as reset:
                vm.restart(reset.cause)
        if intervention is not None and intervention.what == "pin":
            board.drive(intervention.pin, None)
        silent = (board.clock.now_ns - printed) / 1e9
        boot = b"".join(_as_printed(run) for run in vm.start())
        if silent > within:
            raise FirmwareFailure(f"the chip did not start again within {within:g} s")
        return Restart(last.result.stdout, silent, boot)

    def _intervene(self, intervention: Intervention) -> None:
        if intervention.what == "pin":
            self.vm.board.drive(intervention.pin, intervention.level)
        elif self.vm.board.asleep:
            raise ChipReset(Reset.PIN if intervention.what == "reset" else Reset.POWER_ON)

    def restart_by(self, source: str) -> None:
        self.run(source)
        if not self.vm.repl_ended:
            raise FirmwareFailure("the VM did not restart: the program ended")
        self.vm.leave_repl()

    def soft_reset(self) -> None:
        """Ctrl-D in the raw REPL: no code file runs."""
        self.run("pass")
        self.vm.leave_repl()

    def hard_reset(self) -> None:
        """A pulse at the reset input, and what is run then."""
        self.vm.hard_reset()
        self.vm.start()

    def put(self, path: str, data: bytes) -> None:
        self.vm.put(path, data)

    def get(self, path: str) -> bytes:
        try:
            return self.vm.files.open("/" + path.lstrip("/"), Mode()).read(1 << 30)
        except OSError as problem:
            raise BenchFault(f"the reference VM has no file {path!r}: {problem.strerror}") from None

    def remove(self, path: str) -> None:
        self.vm.remove(path)

    def close(self) -> None:
        self.vm.close()

    def __enter__(self) -> CircuitPythonReference:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _as_printed(run: CodeRun) -> bytes:
    return run.result.stdout + run.result.stderr


def _outputs(runs: list[CodeRun]) -> tuple[bytes, ...]:
    return tuple(_as_printed(run) for run in runs if run.file is not None)
