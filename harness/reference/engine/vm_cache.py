"""Where prepared and compiled modules are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_dir() -> Path:
    """The cache folder: ``HARNESS_CACHE`` when set, else the user's cache folder."""
    chosen = os.environ.get("HARNESS_CACHE")
    path = Path(chosen) if chosen else Path(platformdirs.user_cache_dir("vm-harness"))
    path.mkdir(parents=True, exist_ok=True)
    return path
