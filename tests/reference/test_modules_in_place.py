"""Modules of the flash stack in the real VM: executed where they lie, gone after pop and reset."""

import pytest

from harness.formats.romfs import build_romfs, compile_module
from harness.reference.flash.flash_region import SECTOR, Region
from harness.reference.flash.module_stack import TABLE_SECTORS, ModuleStack
from harness.reference.vm import ReferenceVm

#: The heap that an import takes and keeps no collection from, in bytes.
COST = "import gc\ngc.collect()\ngc.disable()\n_a = gc.mem_alloc()\nimport {}\nprint(gc.mem_alloc() - _a)\ngc.enable()"


def source(stem: str, functions: int = 40) -> bytes:
    """Functions that each use three names of their own."""
    lines = (f"def {stem}_f{n}(a):\n    return a.{stem}_alpha{n} + a.{stem}_beta{n}\n" for n in range(functions))
    return "".join(lines).encode() + b"def answer():\n    return 'in place'\n"


def image(name: str, stem: str) -> bytes:
    return build_romfs({f"{name}.mpy": compile_module(f"{name}.py", source(stem))})


def number(vm: ReferenceVm, program: str) -> int:
    result = vm.run(program)
    assert result.stderr == b""
    return int(result.stdout)


def strings(vm: ReferenceVm) -> int:
    """Interned strings outside the firmware."""
    words = vm.run("import micropython\nmicropython.qstr_info()").stdout.decode().split("n_qstr=")
    return int(words[1].split(",")[0])


@pytest.mark.holds("place.push", "place.after-reset", "place.pop")
def test_a_module_can_be_imported_from_the_reset_after_its_push_until_the_one_after_its_pop() -> None:
    stack = ModuleStack(Region((TABLE_SECTORS + 8) * SECTOR))
    with ReferenceVm(boot=b"") as vm:
        stack.reset(vm)
        stack.push("deep", image("deep", "x"))
        assert b"ImportError" in vm.run("import deep").stderr
        stack.reset(vm)
        assert vm.run("import deep\nkept = deep.answer\nprint(kept())").stdout == b"in place\r\n"
        stack.pop("deep")
        assert vm.run("print(kept(), deep.answer())").stdout == b"in place in place\r\n"
        stack.reset(vm)
        assert b"ImportError" in vm.run("import deep").stderr


@pytest.mark.holds("place.mapped", "place.in-place")
def test_bytecode_lies_in_the_mapped_region() -> None:
    stack = ModuleStack(Region((TABLE_SECTORS + 8) * SECTOR))
    with ReferenceVm(boot=b"") as vm:
        stack.reset(vm)
        stack.push("below", image("below", "y"))
        module = stack.push("deep", image("deep", "x"))
        stack.reset(vm)
        start = number(vm, "import uctypes\nprint(uctypes.addressof(memoryview(open('/rom/flash', 'rb'))))")
        # mp_obj_fun_bc_t (py/objfun.h): base, context, child table, bytecode.
        at = number(
            vm, "import deep, struct\nprint(struct.unpack('<4I', uctypes.bytearray_at(id(deep.answer), 16))[3])"
        )
        in_ram = number(vm, "def here(): return 1\nprint(struct.unpack('<4I', uctypes.bytearray_at(id(here), 16))[3])")
    assert start + module.offset < at < start + module.offset + module.size
    assert not start <= in_ram < start + (TABLE_SECTORS + 8) * SECTOR


@pytest.mark.holds("place.ram")
def test_an_import_in_place_takes_less_heap_than_from_files() -> None:
    stack = ModuleStack(Region((TABLE_SECTORS + 8) * SECTOR))
    stack.push("deep", image("deep", "x"))
    with ReferenceVm(boot=b"") as vm:
        stack.reset(vm)
        in_place = number(vm, COST.format("deep"))
    taken = {}
    for kind, data in (("py", source("x")), ("mpy", compile_module("deep.py", source("x")))):
        with ReferenceVm() as vm:
            vm.put(f"/deep.{kind}", data)
            taken[kind] = number(vm, COST.format("deep"))
    assert in_place < 0.75 * taken["mpy"] < taken["mpy"] < 0.9 * taken["py"]


@pytest.mark.holds("place.shared-names")
@pytest.mark.parametrize("shared", [True, False])
def test_strings_that_a_module_shares_with_an_earlier_one_are_not_interned_again(shared: bool) -> None:
    stack = ModuleStack(Region((TABLE_SECTORS + 16) * SECTOR))
    names = [f"m{n}" for n in range(4)]
    for n, name in enumerate(names):
        stack.push(name, image(name, "x" if shared else f"x{n}"))
    with ReferenceVm(boot=b"") as vm:
        stack.reset(vm)
        number(vm, COST.format(names[0]))
        before = strings(vm)
        taken = [number(vm, COST.format(name)) for name in names[1:]]
        interned = strings(vm) - before
    if shared:
        assert interned == 3 * 2  # the module's name and its path
        assert max(taken) - min(taken) <= 32
    else:
        assert interned == 3 * (3 * 40 + 2)
        assert max(taken) - min(taken) > 1500  # a new pool had to be allocated on the way


def test_a_string_stays_where_the_first_module_that_brought_it_lies() -> None:
    """Why only the top can go, and only at a reset: the modules above, and RAM, refer to it by its address."""
    stack = ModuleStack(Region((TABLE_SECTORS + 16) * SECTOR))
    below = stack.push("below", image("below", "x"))
    above = stack.push("above", image("above", "x"))
    where = "print(uctypes.addressof({}.x_f7.__name__))"
    with ReferenceVm(boot=b"") as vm:
        stack.reset(vm)
        start = number(vm, "import uctypes\nprint(uctypes.addressof(memoryview(open('/rom/flash', 'rb'))))")
        vm.run("import below")  # alone: a program that names the function would itself be the first to bring it
        first = number(vm, where.format("below")) - start
        assert below.offset < first < below.offset + below.size
        assert number(vm, "import above\n" + where.format("above")) - start == first
        code = number(vm, "import struct\nprint(struct.unpack('<4I', uctypes.bytearray_at(id(above.x_f7), 16))[3])")
        assert above.offset < code - start < above.offset + above.size
    with ReferenceVm(boot=b"") as vm:  # in the other order the other module keeps it
        stack.reset(vm)
        start = number(vm, "import uctypes\nprint(uctypes.addressof(memoryview(open('/rom/flash', 'rb'))))")
        vm.run("import above, below")
        first = number(vm, where.format("below")) - start
        assert above.offset < first < above.offset + above.size


@pytest.mark.holds("place.read-only")
def test_execution_changes_no_byte_of_the_mapped_module() -> None:
    stack = ModuleStack(Region((TABLE_SECTORS + 8) * SECTOR))
    module = stack.push("deep", image("deep", "x"))
    with ReferenceVm(boot=b"") as vm:
        stack.reset(vm)
        assert vm.run("import deep\nprint(deep.answer())").stdout == b"in place\r\n"
        found = number(
            vm,
            "import binascii\nflash = memoryview(open('/rom/flash', 'rb'))\n"
            f"print(binascii.crc32(flash[{module.offset}:{module.offset + module.size}]))",
        )
    assert found == module.checksum
