# What a port has beside the machine module: its names in sys and os, and vfs.rom_ioctl. The last of the firmware's
# own modules to be loaded; the host then puts all this where the firmware's C code has it.
# Constants with an underscore are put in front of this file when it is compiled.
import host, os, sys, uctypes, vfs
import machine, umachine

del machine.__file__
_box = [None]


def uname():
    return _box[0]


_region = [0, 0]


def _view():
    return uctypes.bytearray_at(_region[0], _region[1])


def _do(*words):
    return int(host.call("rom", " ".join([str(word) for word in words])))


if _ESP32:

    def _partition():
        # A block device (ports/esp32/esp32_partition.c) that can be looked into as memory.
        class Partition(memoryview):
            def ioctl(self, op, arg):
                if op == 4:
                    return _region[1] // 4096
                if op == 5:
                    return 4096
                if op == 6:
                    return _do("erase", arg * 4096, 4096)
                return 0 if op < 4 else None

            def readblocks(self, block, buf, offset=0):
                start = block * 4096 + offset
                buf[:] = _view()[start : start + len(buf)]

            def writeblocks(self, block, buf, offset=None):
                if offset is None:
                    _do("erase", block * 4096, len(buf))
                _do("write", block * 4096 + (offset or 0), len(buf), uctypes.addressof(buf))

            def info(self):
                return (1, 0x8F, _do("offset"), _region[1], "romfs", False)

        _box.append(Partition(_view()))

    def rom_ioctl(op, *args):
        if op == 1:
            return 1
        if op == 2:
            if len(_box) == 1:
                _partition()
            return _box[1]
        return -22

elif _ESP8266:

    def rom_ioctl(op, *args):
        if op == 1:
            return 1
        if op == 2:
            return memoryview(_view())
        if op == 3:
            return _do("erase", 0, args[1]) or 4
        if op == 4:
            return _do("write", args[1], len(args[2]), uctypes.addressof(args[2]))
        return -22

else:

    def rom_ioctl(op, *args):
        if op == 1:
            return 1
        if not args or args[0] != 0:
            return -22
        if op == 2:
            return memoryview(_view())
        if op == 3 and len(args) > 1:
            return _do("erase", *((0,) + args[1:] if len(args) == 2 else args[1:])) or 16
        if op == 4 and len(args) > 2:
            return _do("write", args[1], len(args[2]), uctypes.addressof(args[2]))
        if op == 6:
            return _do("sector")
        return -22


def _start():
    address, size = [int(word) for word in host.call("region", "").split()]
    _region[0], _region[1] = address, size
    words = [sys, os, vfs, umachine, machine, _box, sys.implementation, sys.version, uname]
    words = [id(word) for word in words]
    words.append(id(rom_ioctl) if size else 0)
    words += [id("platform"), id("implementation"), id("_thread"), id("uname"), id("rom_ioctl")]
    words += [id("sysname"), id("nodename"), id("release"), id("version"), id("machine")]
    host.call("identity", " ".join([str(word) for word in words]))


_start()
del sys.modules["machine"]
