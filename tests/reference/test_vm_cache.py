"""The cache of compiled modules: nothing that was changed in it is executed; one that cannot be written is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import BenchFault
from harness.reference.engine import vm_cache
from harness.reference.engine.prepare import vm_module
from harness.reference.engine.vm_cache import keep, kept, write_atomically, write_to_cache
from harness.reference.engine.wasm_module import compiled

_COMPILE = """
import sys
from pathlib import Path
from harness.reference.engine.wasm_module import compiled
compiled(b"\\0asm\\1\\0\\0\\0" + Path(sys.argv[1]).read_bytes()[8:])
print("compiled")
"""


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    vm_cache._warn.cache_clear()
    return tmp_path


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_is_kept_comes_back(places: Path) -> None:
    assert kept("x") is None
    keep("x", b"code")
    assert kept("x") == b"code"
    assert vm_cache.sums_dir().stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["cache/compiled/x", "state/vm-harness/sums/x"])
def test_a_changed_file_or_sum_is_as_none(places: Path, name: str) -> None:
    keep("x", b"code")
    (places / name).write_bytes(b"evil")
    assert kept("x") is None
    keep("x", b"code")
    assert kept("x") == b"code"


def test_a_cache_without_its_sums_is_not_believed(places: Path) -> None:
    """Somebody else's cache, however it came here."""
    (places / "cache/compiled").mkdir(parents=True)
    (places / "cache/compiled/x").write_bytes(b"evil")
    assert kept("x") is None


def test_sums_that_others_can_write_are_not_believed(places: Path, capfd: pytest.CaptureFixture[str]) -> None:
    keep("x", b"code")
    vm_cache.sums_dir().chmod(0o777)
    assert kept("x") is None
    keep("x", b"code")
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert str(vm_cache.sums_dir()) in lines[0]


def test_flipped_bits_in_native_code_are_compiled_anew(places: Path) -> None:
    module = places / "vm.wasm"
    module.write_bytes(vm_module())
    run = [sys.executable, "-c", _COMPILE, str(module)]
    subprocess.run(run, check=True, capture_output=True)
    (native,) = (path for path in files(places / "cache") if path.suffix == ".cwasm")
    good = native.read_bytes()
    damaged = bytearray(good)
    for at in range(0, len(damaged), len(damaged) // 200):
        damaged[at] ^= 1
    native.write_bytes(damaged)
    done = subprocess.run(run, check=True, capture_output=True, text=True)
    assert done.stdout == "compiled\n"
    assert native.read_bytes() != bytes(damaged)


def test_a_full_disk_leaves_no_half_file_and_is_one_line(
    places: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    target = places / "cache" / "file"
    monkeypatch.setattr(Path, "replace", _no_space)
    with pytest.raises(OSError, match="No space"):
        write_atomically(target, b"data")
    with pytest.raises(BenchFault, match="cannot be written.*No space"):
        write_to_cache(target, b"data")
    keep("x", b"code")
    keep("x", b"code")
    assert files(places) == []
    (line,) = capfd.readouterr().err.splitlines()
    assert str(places / "cache") in line


def _no_space(*_: object) -> Path:
    raise OSError(28, "No space left on device")


def test_a_cache_that_cannot_be_made_is_named(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (places / "file").write_text("")
    monkeypatch.setenv("HARNESS_CACHE", str(places / "file" / "cache"))
    with pytest.raises(BenchFault, match=r"cache folder '.*file/cache' cannot be made"):
        vm_module()
    with pytest.raises(BenchFault, match="cannot be made"):
        compiled(b"\0asm\x01\0\0\0")
