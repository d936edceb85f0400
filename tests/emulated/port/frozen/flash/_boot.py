# As upstream's stm32 port starts: the filesystem is at /flash, and there the VM begins.
import sys

import mounts

mounts.mount("/flash")
sys.path.append("/flash")
sys.path.append("/flash/lib")
