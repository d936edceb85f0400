"""Programs by which a MicroPython board takes, checks and sends files. Each leaves no name behind.

To be completed with ``%``; a path goes in as its ``repr``.
"""

from __future__ import annotations

from harness.runtimes.abilities import ASIDE

_CRC = """
def _c(path):
    from binascii import crc32
    block, total, crc = bytearray(128), 0, 0
    with open(path, "rb") as f:
        while True:
            n = f.readinto(block)
            if not n:
                break
            crc = crc32(memoryview(block)[:n], crc)
            total += n
    print("%%d %%08x" %% (total, crc & 0xFFFFFFFF))
"""

#: (path): prints length and CRC-32 of what the filesystem holds.
CHECK = _CRC + "_c(%r)\ndel _c\n"

#: (path, length, block size): ACK when ready and after each block; then as CHECK. Ctrl-C is off while raw bytes
#: arrive: one of them may be 3. After a failed write (no space) the rest is still taken, else it would arrive at
#: the prompt. A VM without binary input says AttributeError before it touches the file.
RECEIVE = (
    _CRC
    + """
def _r(path, left, size):
    import sys, micropython
    ctrl_c, read = micropython.kbd_intr, sys.stdin.buffer.readinto
    trouble, block = None, memoryview(bytearray(size))
    with open(path, "wb") as f:
        ctrl_c(-1)
        try:
            sys.stdout.write("\\x06")
            while left:
                n = read(block[:min(size, left)])
                left -= n
                try:
                    trouble or f.write(block[:n])
                except Exception as e:
                    trouble = e
                sys.stdout.write("\\x06")
        finally:
            ctrl_c(3)
    if trouble:
        raise trouble
    _c(path)
try:
    _r(%r, %d, %d)
finally:
    del _r, _c
"""
)

_BACK = """
def _back(base, own):
    for name in os.listdir(own):
        kind, _, name = name.partition(".")
        if kind not in ("was", "none"):
            continue
        try:
            os.remove(base + "/" + name)
        except OSError:
            pass
        if kind == "was":
            os.rename(own + "/was." + name, base + "/" + name)
        else:
            os.remove(own + "/none." + name)
"""

_EMPTY = """
def _empty(folder):
    for name in os.listdir(folder):
        name = folder + "/" + name
        try:
            os.remove(name)
        except OSError:
            _empty(name)
            os.rmdir(name)
"""

#: Both for a program that has imported ``os``: ``_back(base, own)`` gives files back that :data:`SET_ASIDE` has set
#: aside, ``_empty(folder)`` removes all that is in a folder.
BACK_AND_EMPTY = _BACK + _EMPTY

#: (path, the harness's own folder): the user's file of that path is kept in the folder, or that there is none, and the
#: path is free. What is kept already is the user's, so then nothing is done.
SET_ASIDE = """
def _aside(path, own):
    import os
    name = path.rsplit("/", 1)[-1]
    try:
        os.mkdir(own)
    except OSError:
        pass
    if "was." + name in os.listdir(own) or "none." + name in os.listdir(own):
        return
    try:
        os.stat(path)
    except OSError:
        open(own + "/none." + name, "w").close()
        return
    os.rename(path, own + "/was." + name)
try:
    _aside(%r, %r)
finally:
    del _aside
"""

#: (base, own folder): files that were set aside are the user's again.
GIVE_BACK = "import os\n" + _BACK + "_back(%r, %r)\ndel _back\n"

#: In a function that has imported ``os``, on a filesystem without folders: all of the harness's own is gone.
SWEEP_FLAT = f"""        for name in os.listdir():
            if name[:3] == "hx_" and name[:{len(ASIDE)}] != "{ASIDE}":
                os.remove(name)
"""

#: (base, own folder): the same, and the folder and all that is in it is gone. Without folders: all files named hx_.
SWEEP = (
    "import os\n"
    + _BACK
    + _EMPTY
    + """
def _sweep(base, own):
    if not hasattr(os, "mkdir"):
"""
    + SWEEP_FLAT
    + """        return
    try:
        os.listdir(own)
    except OSError:
        return
    _back(base, own)
    _empty(own)
    os.rmdir(own)
try:
    _sweep(%r, %r)
finally:
    del _sweep, _back, _empty
"""
)

#: (path): lines of base64, then "length:CRC-32"; a mark before each tells them from what an application prints.
SEND = """
def _s(path):
    from binascii import b2a_base64, crc32
    crc = total = 0
    with open(path, "rb") as f:
        while True:
            block = f.read(192)
            if not block:
                break
            crc = crc32(block, crc)
            total += len(block)
            print("\\x06" + b2a_base64(block).decode(), end="")
    print("\\x06%%d:%%08x" %% (total, crc & 0xFFFFFFFF))
try:
    _s(%r)
finally:
    del _s
"""

#: (path): lines of hex, length, sum of the bytes. For a VM without binascii.
SEND_PLAINLY = """
def _s(path):
    total = check = 0
    with open(path, "rb") as f:
        while True:
            block = f.read(32)
            if not block:
                break
            total += len(block)
            check = check + sum(block) & 0xFFFF
            print("".join(["%%02x" %% byte for byte in block]))
    print(total, check)
try:
    _s(%r)
finally:
    del _s
"""

#: (path): names in a folder, as hex: a name can hold anything.
LIST = """
import os, binascii
for n in os.listdir(%r):
    print("%%" + binascii.hexlify(n.encode()).decode())
"""
