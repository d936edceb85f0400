"""What a VM can do, asked of it once for each attach: a lack of it is a skip where nobody promised it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Abilities:
    """``base`` is the folder in which files can be written, empty when there is none, with the reason in ``no_files``.

    ``own_folder`` is the harness's own below it: all that it puts on a board lies there (or in ``base`` itself where
    the VM makes no folders). ``mounts`` and ``path`` are what the VM says of its mounted filesystems and of
    ``sys.path``; ``frequency`` in Hz, 0 when it does not tell one; ``ctrl_c`` whether Ctrl-C ends a busy loop;
    ``timer`` is a number that ``machine.Timer`` takes, None when it takes none;
    ``modules`` are those of :data:`ASKED_MODULES` that it has; ``paste_window`` how many bytes of a program its raw
    paste takes at once, 0 when it has none; ``rom_size`` the bytes of its first ROMFS segment, 0 when it has none.
    """

    base: str = "/"
    no_files: str = ""
    makes_folders: bool = True
    mounts: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    frequency: int = 0
    ctrl_c: bool = True
    modules: tuple[str, ...] = ()
    timer: int | None = None
    paste_window: int = 0
    rom_size: int = 0

    @property
    def own_folder(self) -> str:
        """Empty when no files can be written."""
        if not self.base or not self.makes_folders:
            return self.base
        return f"{self.base.rstrip('/')}/{OWN_FOLDER}"

    def lines(self) -> list[str]:
        """For people: one fact a line."""
        return [
            f"files: {self.own_folder or 'none: ' + self.no_files}",
            f"mounted: {', '.join(self.mounts) or 'not told'}",
            f"sys.path: {', '.join(map(repr, self.path)) or 'not told'}",
            f"frequency: {f'{self.frequency / 1e6:g} MHz' if self.frequency else 'not told'}",
            f"Ctrl-C ends a busy loop: {'yes' if self.ctrl_c else 'no'}",
            f"timer: {'none' if self.timer is None else f'machine.Timer({self.timer})'}",
            f"raw paste: {f'{self.paste_window} bytes at once' if self.paste_window else 'none'}",
            f"ROMFS: {f'{self.rom_size} bytes' if self.rom_size else 'none'}",
            f"modules: {', '.join(self.modules) or 'none of those asked for'}",
        ]


#: The folder of the harness on a board. No module of a user's is called so.
OWN_FOLDER = "hx_files"
#: How a start file is called while it is set aside: it stays the user's, and is swept away with nothing.
ASIDE = "hx_aside_"

#: Capabilities that are asked of a VM of whose port nothing is known, whatever boards.yaml says or does not say.
ASKED_CAPABILITIES = ("romfs",)

#: Modules that are asked for, so that people see what firmware they have.
ASKED_MODULES = ("machine", "time", "binascii", "asyncio", "micropython", "_thread", "vfs", "socket", "select")
