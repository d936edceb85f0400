"""Which strings an image should hold besides those of its modules, and what that saves.

What a module makes when it runs (``"a" .. 1``, names of fields that it was given), and what the firmware makes at its
start, lies in the string table in RAM unless LFS holds it (NodeMCU ``lua_examples/lfs/dummy_strings.lua``). The modules
are run on the reference from an image of them, and its string table is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.errors import FirmwareFailure, UsageError
from harness.formats.lfs import target_layout
from harness.formats.lfs.container import pack_image
from harness.formats.lfs.lfs_image import module_name
from harness.reference.nodemcu.lfs_build import build
from harness.reference.nodemcu.lua_reference import LuaReference

_REGION = 0x40000
_RUN = "kept = kept or {} kept[#kept + 1] = {pcall(node.LFS.get(%s))}"
_LIST = "collectgarbage() for _, s in ipairs(debug.getstrings()) do print((s:gsub('.', function(c) \
return ('%02x'):format(c:byte()) end))) end"
_HEAP = "collectgarbage() collectgarbage() print(node.heap())"


@dataclass(frozen=True)
class Advice:
    """``strings`` of the modules and of the firmware; ``saved`` bytes, measured with an image that has the modules'."""

    modules: list[bytes]
    firmware: list[bytes]
    saved: int

    @property
    def strings(self) -> list[bytes]:
        return self.modules + self.firmware

    @property
    def firmware_saved(self) -> int:
        """By the layout of a string; the reference does not hold them."""
        return sum(target_layout.string(len(text)) for text in self.firmware)


def advise(sources: Mapping[str, bytes]) -> Advice:
    """Run the modules one after the other, keep what they return, and see what strings are in RAM then.

    Raises UsageError for a module that does not return, and as build does.
    """
    names = [module_name(b"@" + name.encode()).decode() for name in sources]
    idle = set(_strings(_run(sources, [], [])))
    ran = _run(sources, [], names)
    free = _free(ran)
    modules = sorted(set(_strings(ran)) - idle)
    return Advice(modules, list(target_layout.FIXED_STRINGS), _free(_run(sources, modules, names)) - free)


def _run(sources: Mapping[str, bytes], strings: list[bytes], names: list[str]) -> LuaReference:
    vm = LuaReference(lfs_size=_REGION)
    image = build(sources, include_strings=strings, max_size=_REGION, build_time=1)
    vm.put("lfs.img", pack_image(image.relocatable()))
    refused = vm.reload_lfs("lfs.img")
    if refused:
        raise UsageError(f"the firmware refuses the image: {refused}", hint="leave modules out")
    for name in ["", *names]:  # none first: what the running itself leaves is the same in every run
        quoted = '"' + "".join(f"\\{byte:03d}" for byte in name.encode()) + '"'
        try:
            vm.run(_RUN % quoted)
        except FirmwareFailure as failure:
            raise UsageError(
                f"module {name!r} does not return on the reference: {failure.message}",
                hint="leave it out, or split what it starts from what it defines",
            ) from None
    return vm


def _strings(vm: LuaReference) -> list[bytes]:
    return [bytes.fromhex(line) for line in vm.run(_LIST).stdout.decode().split()]


def _free(vm: LuaReference) -> int:
    return int(vm.run(_HEAP).stdout)
