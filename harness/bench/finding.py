"""What a check of the doctor found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["ok", "note", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """``problem``: a run will fail. ``warning``: it may. ``note``: good to know. ``fix`` is a command or an act."""

    check: str
    severity: Severity
    what: str
    fix: str = ""
