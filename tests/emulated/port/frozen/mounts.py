import os

from emulated_board import FORMAT
from ram_disk import RamDisk


def mount(place):
    """The disk of this board at ``place``; made when there is none yet."""
    import vfs

    make = getattr(vfs, FORMAT)
    disk = RamDisk()
    try:
        system = make(disk)
        vfs.mount(system, place)
    except OSError:
        make.mkfs(disk)
        vfs.mount(make(disk), place)
    os.chdir(place)
