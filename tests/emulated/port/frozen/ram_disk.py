# A block device in the emulated board's memory beside the heap: it keeps its content over a soft reset and over a
# reset of the chip, as flash does. Its methods are those of vfs.AbstractBlockDev (MicroPython documentation, "vfs").
import board_memory

BLOCK = 512
BLOCKS = 1024


class RamDisk:
    def readblocks(self, block, buffer, offset=0):
        board_memory.read(block * BLOCK + offset, buffer)

    def writeblocks(self, block, data, offset=0):
        board_memory.write(block * BLOCK + offset, data)

    def ioctl(self, operation, argument):
        # 4: how many blocks; 5: bytes of a block; 6: erase a block
        return BLOCKS if operation == 4 else BLOCK if operation == 5 else 0 if operation == 6 else None
