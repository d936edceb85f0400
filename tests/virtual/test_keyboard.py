"""What a Ctrl-C does at each moment of a virtual board's start, struck on the VM's own thread.

As upstream: ``parse_compile_execute`` (``shared/runtime/pyexec.c``) sets the interrupt character once a file is
compiled and takes it back when that has run, in whichever way; until then the receive interrupt
(``ports/esp32/uart.c``) puts a Ctrl-C into the input. ``main`` (``ports/esp32/main.c``) skips main.py when boot.py
failed, by KeyboardInterrupt too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.virtual import cpu
from harness.virtual.flash_files import FlashFiles
from harness.virtual.keyboard import Keyboard
from harness.virtual.live_board import LiveBoard
from harness.virtual.nor_flash import Flash
from tests.virtual.vm_rig import Rig

REBOOT = b"MPY: soft reboot\r\n"
READER = "import sys\nprint('main')\nprint('got', repr(sys.stdin.read(1)))\n"
AT_ONCE = "import machine\nmachine.soft_reset()\n"


def flash_with(boot: str, main: str) -> Flash:
    rig = Rig()
    rig.raw()
    for name, text in (("boot.py", boot), ("main.py", main)):
        rig.run(f"with open({name!r}, 'w') as f: n = f.write({text!r})".encode())
    rig.stop()
    return rig.flash


class Strike:
    """One Ctrl-C, when it is armed and its moment comes."""

    def __init__(self, data: bytes = b"\x03") -> None:
        self.rig: Rig | None = None
        self._data = data

    def arm(self, rig: Rig) -> None:
        self.rig = rig

    def __call__(self) -> None:
        rig, self.rig = self.rig, None
        if rig is not None:
            rig.send(self._data)

    def when_sent(self, rig: Rig, text: bytes) -> None:
        self.arm(rig)
        rig.console.heard = lambda data: self() if text in data else None


def before_and_after(patch: pytest.MonkeyPatch, owner: Any, name: str, before: Callable[..., None], after: Any) -> None:
    original = getattr(owner, name)

    def struck(*arguments: Any, **named: Any) -> Any:
        before(*arguments)
        result = original(*arguments, **named)
        after(*arguments)
        return result

    patch.setattr(owner, name, struck)


def at(path: str, strike: Strike) -> Callable[..., None]:
    return lambda _files, opened, *_mode: strike() if opened == path else None


def nothing(*_arguments: Any) -> None: ...


#: Moments between main.py's end and its next run at which no file runs.
MOMENTS: dict[str, Callable[[pytest.MonkeyPatch, Strike], None]] = {
    "the VM has ended": lambda patch, strike: before_and_after(
        patch, LiveBoard, "vm_ended", lambda *_: strike(), nothing
    ),
    "the next VM is to be made": lambda patch, strike: before_and_after(
        patch, cpu, "vm_of", lambda *_: strike(), nothing
    ),
    "the next VM is made": lambda patch, strike: before_and_after(patch, cpu, "vm_of", nothing, lambda *_: strike()),
    "boot.py is to be opened": lambda patch, strike: before_and_after(
        patch, FlashFiles, "open", at("/boot.py", strike), nothing
    ),
    "boot.py is open": lambda patch, strike: before_and_after(
        patch, FlashFiles, "open", nothing, at("/boot.py", strike)
    ),
    "main.py is open": lambda patch, strike: before_and_after(
        patch, FlashFiles, "open", nothing, at("/main.py", strike)
    ),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_that_comes_while_no_file_runs_is_input(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    strike = Strike()
    rig = Rig(flash=flash_with("print('early')\n", READER))
    MOMENTS[moment](monkeypatch, strike)
    rig.expect(b"main\r\n")
    rig.send(b"x")
    rig.expect(b"got 'x'\r\n")
    rig.expect(b">>> ")
    strike.arm(rig)
    rig.send(b"\x04")
    heard = rig.expect(b">>> ")
    assert strike.rig is None
    assert REBOOT + b"early\r\nmain\r\ngot '\\x03'\r\n" in heard
    assert b"KeyboardInterrupt" not in heard
    rig.stop()


def test_ctrl_c_as_the_restart_is_announced_is_input() -> None:
    """Where a main.py that restarts at once is usually met: it goes on, and a second one while boot.py runs ends it."""
    rig = Rig(flash=flash_with("print('early')\n", AT_ONCE))
    strike = Strike()
    strike.when_sent(rig, REBOOT)
    for _ in range(3):
        rig.expect(REBOOT + b"early\r\n")
    strike.when_sent(rig, b"early")
    rig.expect(b"KeyboardInterrupt")
    rig.expect(b">>> ")
    rig.expect(b"\r\n>>> ")  # the first one, typed at the prompt
    rig.stop()


def test_ctrl_c_while_boot_py_runs_ends_it_and_main_py_is_not_run() -> None:
    """Here boot.py's last statement: nothing in the file looks at what is pending any more, its end does."""
    flash = flash_with("import time\nprint('early')\n", AT_ONCE)
    for _ in range(2):
        rig = Rig(flash=flash)
        rig.expect(REBOOT)
        Strike(b"\r\x03\x03").when_sent(rig, b"early")
        assert REBOOT not in rig.expect(b"KeyboardInterrupt: \r\n").split(b"early\r\n")[-1]
        rig.expect(b"\r\n>>> ")
        rig.send(b"3 + 4\r")
        assert b"7\r\n" in rig.expect(b"7\r\n>>> ")
        rig.stop()


def test_ctrl_c_at_the_very_end_of_boot_py_is_raised_before_main_py(monkeypatch: pytest.MonkeyPatch) -> None:
    strike = Strike()
    before_and_after(monkeypatch, FlashFiles, "open", at("/main.py", strike), nothing)
    rig = Rig(flash=flash_with("print('early')\n", AT_ONCE))
    rig.expect(REBOOT)
    strike.arm(rig)
    rig.expect(b"KeyboardInterrupt: \r\n")
    assert REBOOT not in rig.expect(b">>> ")
    rig.send(b"3 + 4\r")
    assert rig.expect(b">>> ") == b"3 + 4\r\n7\r\n>>> "
    rig.stop()


def test_ctrl_c_while_a_main_py_runs_that_restarts_at_once_leads_to_the_prompt() -> None:
    """Upstream's SystemExit would clear it, for straight code looks at nothing pending; here the port script does."""
    rig = Rig(flash=flash_with("print('early')\n", "import machine\nprint('main')\nmachine.soft_reset()\n"))
    rig.expect(b"main\r\n")
    Strike().when_sent(rig, b"main")
    rig.expect(b">>> ")
    rig.send(b"3 + 4\r")
    assert rig.expect(b">>> ") == b"3 + 4\r\n7\r\n>>> "
    rig.stop()


def test_ctrl_c_ends_a_main_py_that_waits_before_it_restarts() -> None:
    rig = Rig(flash=flash_with("", "import machine, time\nprint('main')\ntime.sleep(100)\nmachine.soft_reset()\n"))
    Strike().when_sent(rig, b"main")
    heard = rig.expect(b">>> ")
    assert b"KeyboardInterrupt: \r\n" in heard
    assert REBOOT not in heard
    rig.stop()


def test_a_boot_py_that_reads_main_py_is_still_interrupted() -> None:
    rig = Rig(flash=flash_with("text = open('main.py').read()\nprint('early')\nwhile True: pass\n", "print('main')\n"))
    Strike().when_sent(rig, b"early")
    heard = rig.expect(b">>> ")
    assert b"KeyboardInterrupt: \r\n" in heard
    assert b"main\r\n" not in heard
    rig.stop()


def test_another_interrupt_character_is_no_input_once_it_has_interrupted() -> None:
    rig = Rig()
    rig.raw()
    rig.send(b"import micropython\nmicropython.kbd_intr(4)\nprint('on')\nwhile True: pass\n\x04")
    rig.expect(b"on\r\n")
    rig.send(b"\x04")
    assert b"KeyboardInterrupt: \r\n\x04>" in rig.expect(b"\x04>")
    assert rig.run(b"print(5)") == b"OK5\r\n\x04\x04>"
    rig.send(b"1 + \x03")  # typed at the prompt, where it empties the line
    assert rig.run(b"print(6)") == b"OK6\r\n\x04\x04>"
    rig.stop()


@given(st.lists(st.one_of(st.binary(max_size=4), st.none(), st.sampled_from([3, 4]), st.just("take")), max_size=12))
def test_each_byte_is_input_or_interrupts(events: list[Any]) -> None:
    keyboard, char, owed = Keyboard(), None, False
    for event in events:
        if event == "take":
            assert keyboard.take() == owed
            owed = False
        elif isinstance(event, bytes):
            kept = bytes(byte for byte in event if byte != char)
            assert keyboard.received(event) == kept
            owed |= kept != event
        else:
            char = event
            keyboard.listen(char)
        assert keyboard.wanted == owed
