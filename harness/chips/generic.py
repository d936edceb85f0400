"""A board of which nothing is known but what its VM says."""

from __future__ import annotations

from harness.chips.record import GENERIC, Chip

CHIPS = (Chip(GENERIC, "generic", 0x0, (), port_unknown="the board's chip is generic"),)
