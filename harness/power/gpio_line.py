"""Power through a GPIO line of this computer that drives a relay or a load switch: libgpiod 2's ``gpioset``.

A line keeps its level only as long as a process holds it (Linux Documentation/userspace-api/gpio/chardev.rst), so that
"off" is a process that goes on, and "on" one as well. Wire the relay so that a line that is let go leaves the board
powered: it is let go at the end of every run.
"""

from __future__ import annotations

import contextlib
import subprocess
from dataclasses import dataclass, field

from harness.children import end_with_parent
from harness.errors import BenchFault, UsageError
from harness.inventory.model import Power
from harness.power.switch import SwitchMethod


@dataclass
class GpioSwitch:
    """``chip`` and ``line`` as gpioset takes them (``gpiochip0``, ``17``); ``active_low`` when 0 switches on.

    A gpioset that is still there after ``settle`` seconds is taken to hold the line.
    """

    chip: str
    line: int
    active_low: bool = False
    program: str = "gpioset"
    settle: float = 0.3
    _holder: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return f"GPIO line {self.line} of {self.chip}"

    def on(self) -> None:
        self._hold(not self.active_low)

    def off(self) -> None:
        self._hold(self.active_low)

    def wait(self) -> None:
        """Until the line is lost, or KeyboardInterrupt."""
        if self._holder is not None:
            self._holder.wait()

    def close(self) -> None:
        """Let the line go: what level it then has is the board's wiring."""
        if self._holder is not None:
            with contextlib.suppress(ProcessLookupError):
                self._holder.terminate()
            try:
                self._holder.communicate(timeout=5)
            except subprocess.TimeoutExpired:
                self._holder.kill()
                self._holder.communicate()
            self._holder = None

    def _hold(self, level: bool) -> None:
        self.close()
        command = [self.program, "--chip", self.chip, f"{self.line}={int(level)}"]
        try:
            holder = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                preexec_fn=end_with_parent(),  # a line that nobody holds any more gives the board its power
            )
        except OSError as problem:
            raise UsageError(
                f"{self.name}: {self.program} cannot be run: {problem.strerror}",
                hint="install libgpiod's tools, version 2 (package gpiod)",
            ) from None
        try:
            _, errors = holder.communicate(timeout=self.settle)
        except subprocess.TimeoutExpired:
            self._holder = holder
            return
        said = errors[:300].decode("utf-8", "replace").strip()
        raise BenchFault(
            f"{self.name}: gpioset ended with code {holder.returncode} and said: {said!r}",
            hint="does `gpioinfo` show the line as unused? libgpiod 1 lets go at once: version 2 is needed",
        )


def _make(power: Power) -> GpioSwitch:
    assert power.chip is not None
    assert power.line is not None
    return GpioSwitch(power.chip, power.line, power.active_low)


METHOD = SwitchMethod("gpio", _make)
