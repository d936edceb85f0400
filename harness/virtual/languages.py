"""What the supervisor of a virtual CircuitPython board says, in more than one language.

Upstream's texts of a build are those of its ``locale/<language>.po``; everything that the supervisor prints round a run
is translated there, the first line of a traceback too. The words here are the harness's own: what matters is that they
are others. ``xx`` is no language at all, so that nothing in it can be relied upon.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """``output`` holds ``%s``, the file's name; ``name`` is how a board's name says it, with letters beyond ASCII."""

    name: str = ""
    soft_reboot: str = "soft reboot"
    auto_reload_off: str = "Auto-reload is off."
    auto_reload_on: str = "Auto-reload is on. Simply save files over USB to run them or enter REPL to disable."
    output: str = "%s output:"
    done: str = "Code done running."
    press_any_key: str = "Press any key to enter the REPL. Use CTRL-D to reload."
    safe_mode: str = "Running in safe mode! Not running saved code."
    in_safe_mode: str = "You are in safe mode because:"
    traceback: str = "Traceback (most recent call last):"


LANGUAGES = {
    "": Language(),
    "de": Language(
        name="für Prüfstände",
        soft_reboot="weicher reboot",
        auto_reload_off="Automatisches Laden ist aus.",
        auto_reload_on="Automatisches Laden ist an. Gespeichertes wird ausgeführt, die REPL schaltet es aus.",
        output="%s Ausgabe:",
        done="Das Programm ist beendet.",
        press_any_key="Eine Taste öffnet die REPL, STRG-D lädt neu.",
        safe_mode="Sicherheitsmodus! Gespeicherte Programme laufen nicht.",
        in_safe_mode="Der Grund für den Sicherheitsmodus:",
        traceback="Zurückverfolgung (jüngster Aufruf zuletzt):",
    ),
    "xx": Language(
        name="ŝŭŕ→",
        soft_reboot="ŕŕŕ",
        auto_reload_off="→ 0",
        auto_reload_on="→ 1",
        output="«%s»",
        done="öö",
        press_any_key="?? ŕ",
        safe_mode="!",
        in_safe_mode="! !",
        traceback="~ ~",
    ),
}
