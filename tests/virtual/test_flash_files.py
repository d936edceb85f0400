"""The filesystem of a virtual board across a reset that meets a file in the middle of being written."""

from __future__ import annotations

import gc
import subprocess
import sys

from harness.reference.engine.guest_files import Mode
from harness.virtual.flash_files import FlashFiles
from tests.virtual.vm_rig import VFS, Rig


def test_a_file_that_was_open_at_a_reset_is_never_written_afterwards() -> None:
    """Not when the dead VM's objects are collected, either: by then the next one has mounted the flash."""
    rig = Rig()
    rig.raw()
    assert rig.run(b"with open('kept', 'wb') as f: f.write(b'whole')\n") == b"OK\x04\x04>"
    assert rig.run(b"f = open('kept', 'wb')\nn = f.write(b'half of it')\n") == b"OK\x04\x04>"
    rig.stop()
    flash = rig.flash
    before = flash.read(*VFS)
    files = FlashFiles(flash, *VFS)
    del rig
    gc.collect()
    assert flash.read(*VFS) == before
    file = files.open("kept", Mode())
    assert file.read(20) in (b"whole", b"")


_CUT = """
import gc
from harness.reference.engine.guest_files import Mode
from harness.virtual.flash_files import FlashFiles
from harness.virtual.nor_flash import Flash

files = FlashFiles(Flash(65536), 0, 65536)
file = files.open("new", Mode(write=True, create=True))
file.write(bytes(5000))
files.cut_off()
try:
    file.close()
except OSError as problem:
    print("close", problem.errno)
del file
gc.collect()
print("goes on")
"""


def test_a_file_whose_last_write_fails_is_closed_once() -> None:
    """littlefs ends the whole process when a file is closed twice."""
    done = subprocess.run([sys.executable, "-c", _CUT], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split()) == (0, ["close", "28", "goes", "on"]), done.stderr
