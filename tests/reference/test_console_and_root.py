"""What upstream's own tests showed about the seams between the VM and its port."""

from collections.abc import Iterator

import pytest

from harness.errors import UsageError
from harness.reference.vm import ReferenceVm


@pytest.fixture
def vm() -> Iterator[ReferenceVm]:
    with ReferenceVm() as machine:
        yield machine


def test_a_warning_stands_among_the_output_and_is_not_what_the_program_ended_by(vm: ReferenceVm) -> None:
    result = vm.run("print(1)\nprint(b'a' == 'a')\nimport sys\nprint('said', file=sys.stderr)")
    assert result.stdout == b"1\r\nWarning: Comparison between bytes and str\r\nFalse\r\nsaid\r\n"
    assert result.stderr == b""


def test_the_error_a_program_ends_by_is_apart_from_its_output(vm: ReferenceVm) -> None:
    result = vm.run("import sys\ntry:\n  1/0\nexcept Exception as e:\n  sys.print_exception(e)\n[][1]")
    assert result.stdout.endswith(b"ZeroDivisionError: divide by zero\r\n")
    assert result.stderr.endswith(b"IndexError: list index out of range\r\n")
    assert b"ZeroDivisionError" not in result.stderr


def test_random_has_a_seed_and_the_same_in_every_life(vm: ReferenceVm) -> None:
    source = "import random\nprint([random.getrandbits(16) for _ in range(4)])"
    first = vm.run(source)
    assert first.stderr == b""
    assert vm.run(source).stdout != first.stdout
    vm.soft_reset()
    assert vm.run(source).stdout == first.stdout


def test_programs_go_on_after_one_unmounted_the_root(vm: ReferenceVm) -> None:
    vm.put("/kept.txt", b"here")
    assert vm.run("import vfs\nvfs.umount('/')\nraise OSError(43)").stderr.endswith(b"OSError: [Errno 43] ENODEV\r\n")
    assert vm.run("print(open('/kept.txt').read())").stdout == b"here\r\n"


def test_programs_go_on_after_one_mounted_a_filesystem_of_its_own_over_the_root(vm: ReferenceVm) -> None:
    mount = """
import vfs
class Empty:
    def mount(self, readonly, mkfs): pass
    def umount(self): pass
    def open(self, path, mode): raise OSError(2)
    def stat(self, path): raise OSError(2)
vfs.umount("/")
vfs.mount(Empty(), "/")
print(1)
"""
    assert vm.run(mount).stdout == b"1\r\n"
    assert vm.run("print(2)").stdout == b"2\r\n"


def test_a_mount_point_is_listed_as_a_board_lists_it(vm: ReferenceVm) -> None:
    vm.put("/f.txt", b"12345")
    source = "import os, vfs\nvfs.mount(vfs.VfsPosix('/'), '/m')\nprint(list(os.ilistdir()))\nvfs.umount('/')\n"
    listings = vm.run(source + "print(list(os.ilistdir()), list(os.ilistdir('/')))").stdout.splitlines()
    assert listings == [b"[('f.txt', 32768, 0, 5)]", b"[('m', 16384, 0)] [('m', 16384, 0)]"]


def test_a_file_that_is_no_build_is_refused_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_VM", "/bin/sh")
    with pytest.raises(UsageError, match="not a WASI build"):
        ReferenceVm()
