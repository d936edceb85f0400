# A block device in the emulated board's memory beside the heap: it keeps its content over a soft reset and over a
# reset of the chip, as flash does. Its methods are those of vfs.AbstractBlockDev (MicroPython documentation, "vfs").
import uctypes


class RamDisk:
    SIZE = 512

    def __init__(self, address, size):
        self.memory = uctypes.bytearray_at(address, size)
        self.blocks = size // self.SIZE

    def readblocks(self, block, buffer, offset=0):
        start = block * self.SIZE + offset
        memory = memoryview(self.memory)
        buffer[:] = memory[start : start + len(buffer)]

    def writeblocks(self, block, data, offset=0):
        start = block * self.SIZE + offset
        memory = memoryview(self.memory)
        memory[start : start + len(data)] = data

    def ioctl(self, operation, argument):
        if operation == 4:
            return self.blocks
        if operation == 5:
            return self.SIZE
        if operation == 6:
            return 0
