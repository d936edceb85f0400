"""Programs that prove that they arrived whole."""

import re

import pytest

from harness.errors import BenchFault
from harness.runtimes.interface import Restart, RunResult
from harness.runtimes.micropython.verified import DamagedProgram, reset_verified, run_verified

SOURCE = "print('héllo')\nx = '\\x04'\n"


class Vm:
    """Runs what it is sent with the host's own Python; ``damage`` strikes on the way."""

    def __init__(self, damage: tuple[str, str] = ("", ""), no_room: bool = False) -> None:
        self._damage = damage
        self._no_room = no_room
        self.sent: list[str] = []

    def soft_reset(self) -> None:
        self.sent.append("soft reset")

    def run(self, source: str) -> RunResult:
        self.sent.append(source)
        if self._no_room and "crc32" in source:
            return RunResult(b"", b"MemoryError: \r\n", 0.0)
        out: list[str] = []
        try:
            exec(source.replace(*self._damage), {"print": lambda *a: out.append(" ".join(map(str, a)) + "\r\n")})
            error = ""
        except Exception as problem:
            error = f"{type(problem).__name__}: {problem}"
        return RunResult("".join(out).encode(), error.encode(), 0.0)


def verified(vm: Vm, source: str) -> RunResult:
    return run_verified(vm.run, vm.soft_reset, source)


def test_the_output_is_that_of_the_program_alone() -> None:
    assert verified(Vm(), SOURCE).stdout == "héllo\r\n".encode()


@pytest.mark.parametrize("damage", [("llo", "lo"), ("crc32", "crc33"), ("exec(", "exec)"), ("import", "Import")])
def test_what_is_damaged_on_its_way_is_not_executed(damage: tuple[str, str]) -> None:
    with pytest.raises(DamagedProgram) as problem:
        verified(Vm(damage), SOURCE)
    assert isinstance(problem.value, BenchFault)


def test_an_error_of_the_program_itself_stays_its_error() -> None:
    assert b"ZeroDivisionError" in verified(Vm(), "1 / 0").stderr


def test_a_vm_without_room_gets_the_program_the_usual_way() -> None:
    vm = Vm(no_room=True)
    assert verified(vm, "print(1)").stdout == b"1\r\n"
    assert vm.sent[1:] == ["soft reset", "print(1)"]


def test_no_control_character_travels_inside_the_text() -> None:
    vm = Vm()
    verified(vm, "x = '\x03\x04'")
    assert not re.search(r"[\x01-\x05]", vm.sent[0])


def test_a_program_that_resets_the_chip_is_checked_too() -> None:
    vm = Vm()
    restart = reset_verified(lambda source: Restart(vm.run(source).stdout, 0.5, b"boot"), "print('last')")
    assert (restart.stdout, restart.silent, restart.boot) == (b"last\r\n", 0.5, b"boot")
    assert "crc32" in vm.sent[0]
