"""Upstream-style test programs (``x.py`` with an optional ``x.py.exp``), run on any language VM."""
