"""A VM module: its bytes, the custom sections it carries, and its compiled form in a cache.

WebAssembly core specification, "Binary Format", sections "Modules" and "Custom Section".
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import threading
from collections.abc import Iterator
from importlib.metadata import version

import wasmtime

from harness.reference.engine.vm_cache import keep, kept

_MAGIC = b"\0asm\x01\0\0\0"
_engine_lock = threading.Lock()
_engine: wasmtime.Engine | None = None


def engine() -> wasmtime.Engine:
    """The process's one engine: fuel for metering, epochs for interruption."""
    global _engine
    with _engine_lock:
        if _engine is None:
            config = wasmtime.Config()
            config.consume_fuel = True
            config.epoch_interruption = True
            config.wasm_exceptions = True
            config.cranelift_opt_level = "speed"
            _engine = wasmtime.Engine(config)
        return _engine


def leb128(value: int) -> bytes:
    out = bytearray()
    while True:
        out.append((value & 0x7F) | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(out)


def read_leb128(data: bytes, at: int) -> tuple[int, int]:
    """The unsigned number at ``at``, and where it ends. Raises ValueError for one of more than 35 bits."""
    value = shift = 0
    for _ in range(5):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("number too long")


def custom_section(name: str, content: bytes) -> bytes:
    """The bytes of one custom section, to be appended to a module."""
    label = name.encode()
    body = leb128(len(label)) + label + content
    return b"\0" + leb128(len(body)) + body


def custom_sections(module: bytes) -> dict[str, bytes]:
    """All custom sections by name. Raises ValueError when ``module`` is not well formed."""
    return _split(module)[1]


def one_custom_section(module: bytes, name: str) -> bytes | None:
    """The last custom section of that name; nothing else is copied. Raises as :func:`custom_sections`."""
    found = None
    for kind, _, at, end in _sections(module):
        if not kind:
            own, start = _name_of(module, at)
            if own == name:
                found = module[start:end]
    return found


def without_custom_sections(module: bytes) -> bytes:
    """What the engine compiles; two firmware variants that differ only in scripts share it."""
    return _split(module)[0]


def sections(module: bytes) -> Iterator[tuple[int, bytes]]:
    """Each section's number and content. Raises ValueError when ``module`` is not well formed."""
    return ((kind, module[at:end]) for kind, _, at, end in _sections(module))


def _sections(module: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Each section: its number, where it starts, where its content starts and ends."""
    if module[:8] != _MAGIC:
        raise ValueError(f"not a WebAssembly module: starts with {module[:8].hex()}")
    end = 8
    while end < len(module):
        start = end
        try:
            size, at = read_leb128(module, start + 1)
        except IndexError:
            raise ValueError("module ends in the middle of a section") from None
        end = at + size
        if end > len(module):
            raise ValueError(f"section {module[start]} at 0x{start:x} runs past the end")
        yield module[start], start, at, end


def _split(module: bytes) -> tuple[bytes, dict[str, bytes]]:
    kept, custom = [_MAGIC], {}
    for kind, start, at, end in _sections(module):
        if kind:
            kept.append(module[start:end])
            continue
        name, content = _name_of(module, at)
        custom[name] = module[content:end]
    return b"".join(kept), custom


def _name_of(module: bytes, at: int) -> tuple[str, int]:
    """The name of the custom section whose content starts at ``at``, and where what follows the name starts."""
    try:
        length, at = read_leb128(module, at)
    except IndexError:
        raise ValueError("module ends in the middle of a section") from None
    return module[at : at + length].decode("utf-8", "replace"), at + length


@functools.lru_cache(maxsize=4)
def compiled(module: bytes) -> wasmtime.Module:
    """``module`` ready to instantiate; compiled once (about half a second), then from the cache.

    Raises ValueError when it is not a module that the engine accepts.
    """
    code = without_custom_sections(module)
    digest = hashlib.sha256(code).hexdigest()
    # Serialized code is only valid for the wasmtime that wrote it.
    name = f"{digest[:32]}-{version('wasmtime')}.cwasm"
    native = kept(name)
    if native is not None:
        with contextlib.suppress(wasmtime.WasmtimeError):
            return wasmtime.Module.deserialize(engine(), native)
    try:
        result = wasmtime.Module(engine(), code)
    except wasmtime.WasmtimeError as problem:
        raise ValueError(f"the engine refuses the module: {str(problem)[:300]}") from None
    keep(name, bytes(result.serialize()))
    return result
