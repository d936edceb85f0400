"""Files to an LFS image in one call."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from harness.errors import UsageError
from harness.formats.lfs.compile import compile_lua
from harness.formats.lfs.container import pack_image
from harness.formats.lfs.lfs_image import DEFAULT_MAX_SIZE, Image, build_image


def build(
    sources: Mapping[str, bytes],
    *,
    integer: bool = False,
    include_strings: list[bytes] | None = None,
    max_size: int = DEFAULT_MAX_SIZE,
    build_time: int | None = None,
) -> Image:
    """Build an image of modules: file name to Lua source or chunk, in this order.

    ``build_time`` in seconds since 1970, now by default. Raises UsageError as compile_lua and build_image do.
    """
    protos = [compile_lua(source, name, integer=integer) for name, source in sources.items()]
    seconds = int(time.time()) if build_time is None else build_time
    return build_image(protos, time=seconds, integer=integer, include_strings=include_strings or (), max_size=max_size)


def build_file(sources: Mapping[str, bytes], *, integer: bool = False, build_time: int | None = None) -> bytes:
    """The file for ``node.LFS.reload``."""
    return pack_image(build(sources, integer=integer, build_time=build_time).relocatable())


def read_sources(files: list[Path]) -> dict[str, bytes]:
    """The content of files by the names they were given with. Raises UsageError for one that cannot be read."""
    sources: dict[str, bytes] = {}
    for file in files:
        try:
            sources[str(file)] = file.read_bytes()
        except OSError as problem:
            raise UsageError(f"cannot read {str(file)!r}: {problem.strerror}", hint="check its name") from None
    return sources
