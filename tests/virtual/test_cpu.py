"""The virtual firmware as one client sees it: upstream's protocol over a pair of queues, no chip, no port."""

from collections.abc import Iterator

import pytest

from harness.formats.romfs import build_romfs
from harness.reference.engine.wasm_module import custom_section
from harness.virtual import cpu
from harness.virtual.application import Ended, Exit
from harness.virtual.nor_flash import Flash
from tests.virtual.vm_rig import FLASH_SIZE, ROMFS, VFS, Rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.stop()


def test_banner_prompt_and_an_expression(rig: Rig) -> None:
    assert rig.expect(b">>> ") == (
        b'Performing initial setup\r\nMicroPython test\r\nType "help()" for more information.\r\n>>> '
    )
    rig.send(b"1 + 2\r")
    assert rig.expect(b">>> ") == b"1 + 2\r\n3\r\n>>> "


def test_raw_mode_output_and_error(rig: Rig) -> None:
    rig.raw()
    assert rig.run(b"print('hi')\nx = 1/0") == (
        b"OKhi\r\n\x04Traceback (most recent call last):\r\n"
        b'  File "<stdin>", line 2, in <module>\r\nZeroDivisionError: divide by zero\r\n\x04>'
    )


def test_ctrl_c_stops_a_busy_loop_and_a_sleep(rig: Rig) -> None:
    rig.raw()
    for body in (b"while True: pass", b"import time; time.sleep(1000)"):
        rig.send(b"print('on');" + b"\n" + body + b"\x04")
        rig.expect(b"on\r\n")
        rig.send(b"\x03")
        assert b"KeyboardInterrupt: \r\n\x04>" in rig.expect(b"\x04>")
    assert rig.run(b"print(5)") == b"OK5\r\n\x04\x04>"


def test_a_program_can_turn_ctrl_c_off_and_read_it(rig: Rig) -> None:
    rig.raw()
    program = (
        b"import micropython, sys\nmicropython.kbd_intr(-1)\nprint('on')\n"
        b"got = sys.stdin.buffer.read(2)\nmicropython.kbd_intr(3)\nprint(got)"
    )
    rig.send(program + b"\x04")
    rig.expect(b"on\r\n")
    rig.send(b"\x03\x04")
    assert rig.expect(b"\x04>") == b"b'\\x03\\x04'\r\n\x04\x04>"


def test_soft_reset_clears_globals_keeps_files_and_raw_mode(rig: Rig) -> None:
    rig.raw()
    rig.run(b"x = 1\nwith open('f.txt', 'w') as f: n = f.write('kept')")
    rig.send(b"\x04")
    assert rig.expect(b"\r\n>") == b"OK\r\nMPY: soft reboot\r\nraw REPL; CTRL-B to exit\r\n>"
    assert rig.run(b"print('x' in globals(), open('f.txt').read())") == b"OKFalse kept\r\n\x04\x04>"


def test_system_exit_ends_with_both_marks_and_a_soft_reset(rig: Rig) -> None:
    rig.raw()
    rig.send(b"raise SystemExit\x04")
    assert rig.expect(b"\r\n>") == b"OK\x04\x04MPY: soft reboot\r\nraw REPL; CTRL-B to exit\r\n>"


def test_files_live_in_the_flash_as_littlefs(rig: Rig) -> None:
    rig.raw()
    rig.run(b"import os\nos.mkdir('/d')\nwith open('/d/a.bin', 'wb') as f: n = f.write(bytes(range(256)))")
    rig.stop()
    second = Rig(flash=rig.flash)
    second.raw()
    assert second.run(b"import os; print(os.listdir('/'), open('/d/a.bin','rb').read()[-3:])") == (
        b"OK['boot.py', 'd'] b'\\xfd\\xfe\\xff'\r\n\x04\x04>"
    )
    second.stop()
    assert b"littlefs" in rig.flash.read(VFS[0], 64)


def test_main_py_runs_at_a_start_but_not_in_raw_mode(rig: Rig) -> None:
    rig.raw()
    rig.run(b"with open('main.py', 'w') as f: n = f.write('print(\"main ran\")')")
    rig.send(b"\x04")
    assert b"main ran" not in rig.expect(b"raw REPL; CTRL-B to exit\r\n>")
    rig.send(b"\x02")
    rig.expect(b">>> ")
    rig.send(b"\x04")
    assert b"soft reboot\r\nmain ran\r\n" in rig.expect(b">>> ")


def test_a_main_py_that_never_ends_is_stopped_by_ctrl_c() -> None:
    first = Rig()
    first.raw()
    first.run(b"with open('main.py', 'w') as f: n = f.write('print(\"busy\")\\nwhile True: pass')")
    first.stop()
    rig = Rig(flash=first.flash)
    rig.expect(b"busy\r\n")
    rig.send(b"\x03")
    assert b"KeyboardInterrupt" in rig.expect(b">>> ")
    rig.stop()


def test_a_romfs_image_in_flash_is_mounted_and_runs_in_place() -> None:
    flash = Flash(FLASH_SIZE)
    image = build_romfs({"in_flash.py": b"def f(): return 'from flash'\n"})
    flash.program(ROMFS[0], image)
    rig = Rig(flash=flash)
    rig.raw()
    assert rig.run(b"import in_flash, sys; print(in_flash.f(), sys.path)") == (
        b"OKfrom flash ['', '.frozen', '/rom', '/rom/lib', '/lib']\r\n\x04\x04>"
    )
    rig.stop()


def test_en_low_ends_a_busy_program_at_once(rig: Rig) -> None:
    rig.raw()
    rig.send(b"print('on')\nwhile True: pass\x04")
    rig.expect(b"on\r\n")
    assert rig.stop() == Exit(Ended.STOPPED)


def test_modules_built_for_other_services_give_way_to_those_that_fit() -> None:
    """A board keeps its flash when the harness is updated: its old modules would ask for the wrong things."""
    ours = cpu.SYSTEM_ROM_SECTION
    broken = build_romfs({"_board.py": b"raise SystemExit\n", "machine.py": b"raise ValueError('the old one')\n"})
    for section, expected in ((f"{ours[:-8]}00000000", b"OK1\r\n\x04\x04>"), (ours, b"")):
        rig = Rig(rom=custom_section(section, broken))
        if expected:
            rig.raw()
            assert rig.run(b"import machine; print(machine.reset_cause())") == expected
        else:
            rig.expect(b"soft reboot")  # what was flashed is what runs, for better or worse
        rig.stop()


def test_an_open_files_caches_are_freed_with_it_and_never_stand_in_its_way(rig: Rig) -> None:
    """What littlefs keeps for a file is on the heap as long as the file object is; a full heap is no reason to fail."""
    rig.raw()
    program = b"""
import gc
def opened(count):
    files = [open('boot.py') for _ in range(count)]
    return gc.mem_alloc(), files
gc.collect(); before = gc.mem_alloc()
after, files = opened(20)
print(after - before >= 20 * 256)
del files
gc.collect()
print(gc.mem_alloc() - before < 1024)
hoard = []
try:
    while True: hoard.append(bytearray(200))
except MemoryError:
    for _ in range(20): hoard.pop()
kept = open('boot.py').read()
hoard = None
gc.collect()
print(kept == open('boot.py').read(), gc.mem_alloc() - before < 10 * 256)
"""
    assert rig.run(program) == b"OKTrue\r\nTrue\r\nTrue True\r\n\x04\x04>"
