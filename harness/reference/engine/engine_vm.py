"""A running MicroPython VM: module, port script, heap, ROMFS region, and Ctrl-C.

One :class:`Vm` is one life of the VM, from start to soft reset. Its port decides what the console,
the clock and the filesystem are; that is all in which a virtual board and the reference differ.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources

from harness.reference.engine.guest_memory import GuestFault, GuestMemory
from harness.reference.engine.guest_objects import Identity, install
from harness.reference.engine.heap_map import HeapMap, find_area, read_heap
from harness.reference.engine.memory_layout import Layout, layout_of
from harness.reference.engine.open_file import charge
from harness.reference.engine.wasi import ERROR_OUTPUT_FD, RAW_OUTPUT_FD, Port
from harness.reference.engine.wasm_machine import HostOutOfMemory, Machine
from harness.reference.engine.wasm_module import compiled, one_custom_section

#: Custom section of a module that holds its own port script (MicroPython source).
PORT_SECTION = "harness.port"


@dataclass(frozen=True)
class VmConfig:
    """``heap_size`` is the raw heap in bytes, tables included; ``romfs`` an image to map, or empty;
    ``system_rom`` one with the firmware's own modules, whose ``_board`` is imported at the start;
    ``start_files`` run in order before the first program; ``fuel`` bounds the instructions.

    ``files_at`` is where the filesystem is mounted, ``path`` what ``sys.path`` has beside the usual. With an
    ``identity`` the firmware's own modules are loaded at the start, ``modules`` in this order, and the VM tells it;
    ``rom_ioctl``: ``vfs`` has that function for the ROMFS region."""

    heap_size: int
    romfs: bytes = b""
    system_rom: bytes = b""
    start_files: tuple[str, ...] = ()
    fuel: int | None = None
    files_at: str = "/"
    path: tuple[str, ...] = ("/lib",)
    modules: tuple[str, ...] = ("_board",)
    identity: Identity | None = None
    rom_ioctl: bool = False


def default_port_script() -> str:
    """The port script that is used when the module carries none."""
    return resources.files("harness.reference.engine").joinpath("guest/port.py").read_text("utf-8")


class Vm:
    """One life of the VM. ``call`` answers host calls of the port script beyond ``start``; for ``alarm``
    and ``weights`` see :class:`Machine`."""

    def __init__(
        self,
        module: bytes,
        port: Port,
        config: VmConfig,
        call: Callable[[str, str], str] = lambda _name, _argument: "",
        *,
        alarm: Callable[[], None] | None = None,
        weights: Sequence[float] = (),
    ) -> None:
        try:
            script = one_custom_section(module, PORT_SECTION)
        except MemoryError as problem:
            raise HostOutOfMemory(str(problem)) from None
        source = default_port_script() if script is None else script.decode("utf-8", "replace")
        self._config = config
        self._call = call
        self._layout: Layout = layout_of(module)
        self._interrupt_object = 0
        self._heap_area = 0
        self._file_types: set[int] = set()
        #: Guest address of the mapped ROMFS region, 0 when there is none.
        self.romfs_address = 0
        self.machine = Machine(
            compiled(module),
            port,
            argv=["micropython", "-X", f"heapsize={config.heap_size}", "-c", source],
            call=self._host_call,
            fuel=config.fuel,
            alarm=alarm,
            weights=weights,
        )

    def run(self) -> int:
        """Run until the VM ends (soft reset); see :meth:`Machine.run` for what it raises."""
        return self.machine.run()

    def interrupt(self) -> None:
        """Ctrl-C: raise ``KeyboardInterrupt`` at the VM's next check. From any thread."""
        self.machine.at_next_point(self.raise_interrupt)

    def raise_interrupt(self) -> None:
        """The same on the VM's own thread, from inside its port."""
        if self._interrupt_object:
            self._layout.raise_exception(self.machine.memory, self._interrupt_object)

    def heap_map(self) -> HeapMap:
        """The collector's tables as they are now. Only while the VM waits (between programs, or in a call)."""
        if not self._heap_area:
            self._heap_area = find_area(self.machine.memory, self._interrupt_object)
        return read_heap(self.machine.memory, self._heap_area)

    def charge_open_file(self, size: int) -> None:
        """The file that is being opened takes ``size`` bytes of the heap more than this build's file object."""
        if not self._heap_area:
            self._heap_area = find_area(self.machine.memory, self._interrupt_object)
        charge(self.machine.memory, self._heap_area, self._file_types, size)

    @property
    def interrupt_pending(self) -> bool:
        """A Ctrl-C that has been noted and not yet raised: what waits must stop waiting."""
        return self._layout.exception_pending(self.machine.memory)

    def withdraw_interrupt(self) -> None:
        """Forget a Ctrl-C that came too late for the program it was meant for."""
        self.machine.cancel_point()
        if not self.machine.closed:
            self._layout.withdraw_exception(self.machine.memory)

    def _host_call(self, name: str, argument: str) -> str:
        if name == "port":
            self._file_types.add(self.machine.memory.read_u32(int(argument)))
            return f"{self._config.files_at} {','.join(self._config.modules)} {' '.join(self._config.path)}"
        if name == "region":
            region = (self.romfs_address, len(self._config.romfs)) if self._config.rom_ioctl else (0, 0)
            return f"{region[0]} {region[1]}"
        if name == "identity" and self._config.identity is not None:
            install(self.machine.memory, argument, self._config.identity)
            return ""
        if name != "start":
            return self._call(name, argument)
        words = [int(part) for part in argument.split()]
        interrupt, stdout_buffer, stderr_buffer = words[:3]
        self._interrupt_object = interrupt
        self.replace_functions(words[3:])
        memory = self.machine.memory
        self._file_types.add(memory.read_u32(stdout_buffer))
        # mp_obj_vfs_posix_file_t is {type, fd}: print() keeps descriptor 1, the buffers get their own.
        memory.write_u32(stdout_buffer + 4, RAW_OUTPUT_FD)
        memory.write_u32(stderr_buffer + 4, ERROR_OUTPUT_FD)
        self.romfs_address = self._map(self._config.romfs)
        regions = f"{self.romfs_address} {len(self._config.romfs)}"
        regions += f" {self._map(self._config.system_rom)} {len(self._config.system_rom)}"
        return f"{regions} {' '.join(self._config.start_files)}"

    def _map(self, image: bytes) -> int:
        if not image:
            return 0
        address = self.machine.memory.grow(len(image))
        self.machine.memory.write(address, image)
        return address

    def replace_functions(self, words: list[int]) -> None:
        """Let built-in modules name other functions: three guest words each, {name, built-in, replacement}."""
        for at in range(0, len(words), 3):
            _replace_function(self.machine.memory, *words[at : at + 3])

    @property
    def layout(self) -> Layout:
        """Where the build keeps its scheduler's queue."""
        return self._layout


def _replace_function(memory: GuestMemory, name: int, builtin: int, replacement: int) -> None:
    """Let a module's read-only table name another function: its entries are {name, value} words."""
    entry = struct.pack("<II", name, builtin)
    at = memory.read(0, replacement).find(entry)
    if at < 0:
        raise GuestFault("the built-in function to replace was not found")
    memory.write_u32(at + 4, replacement)


_PORT_FRAMES = re.compile(rb'  File "(<stdin>", line \d+, in _port\w*|<board>", line \d+, in \S+)\r?\n')

_ABSOLUTE = re.compile(rb'File "(?:/[^/"\n]{1,60})?/<stdin>"')


def without_port_frames(error: bytes | bytearray) -> bytes:
    """A traceback without the port script's own frames, as firmware with a C port layer prints it."""
    return _ABSOLUTE.sub(b'File "<stdin>"', _PORT_FRAMES.sub(b"", bytes(error)))
