# As upstream's esp32 port starts: the filesystem is at the root.
import sys

import mounts

mounts.mount("/")
sys.path.append("/lib")
