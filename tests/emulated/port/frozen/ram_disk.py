# A block device in the emulated board's memory beside the heap: it keeps its content over a soft reset and over a
# reset of the chip, as flash does. Its methods are those of vfs.AbstractBlockDev (MicroPython documentation, "vfs").
import uctypes


class RamDisk:
    SIZE = 512

    def __init__(self, address, size):
        self.memory = memoryview(uctypes.bytearray_at(address, size))
        self.blocks = size // self.SIZE

    def readblocks(self, block, buffer, offset=0):
        start = block * self.SIZE + offset
        buffer[:] = self.memory[start : start + len(buffer)]

    def writeblocks(self, block, data, offset=0):
        start = block * self.SIZE + offset
        self.memory[start : start + len(data)] = data

    def ioctl(self, operation, argument):
        # 4: how many blocks; 5: bytes of a block; 6: erase; 3: sync
        return {4: self.blocks, 5: self.SIZE, 6: 0}.get(operation)
