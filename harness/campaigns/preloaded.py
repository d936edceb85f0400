"""Imported for what it imports: by the fork server, once, for all boards' processes of a run."""

from __future__ import annotations

import contextlib
import gc
import importlib
from importlib.metadata import entry_points

import _pytest.config

import harness.campaigns.board_session
import harness.formats.lfs.compile
import harness.formats.lfs.container
import harness.judging.references  # noqa: F401

for _name in _pytest.config.default_plugins:
    importlib.import_module(f"_pytest.{_name}")
for _entry in entry_points(group="pytest11"):
    with contextlib.suppress(Exception):  # another package's plugin; pytest itself says what is wrong with it
        _entry.load()

# pytest collects garbage several times at its end: what is here already is none, and is shared until it is written to.
gc.collect()
gc.freeze()
