# The port layer of a VM that was built without one: run from `-c` at every start of the VM.
# It tells the host where some objects are, mounts the ROMFS region that the host mapped and the filesystem where the
# port has it, loads the firmware's own modules, runs the start files, and then executes one program after another:
# opening "<stdin>" waits for the next one.
def _port():
    import host, micropython, os, sys, time, uctypes, vfs

    g = globals()
    del g["_port"]
    interrupt = KeyboardInterrupt()  # stays referenced from here: the host raises it for Ctrl-C

    def _port_kbd_intr(char):  # takes the place of the built-in one, which does nothing in this build
        host.call("kbd_intr", str(int(char)))

    sleep_us, ticks_ms, ticks_diff = time.sleep_us, time.ticks_ms, time.ticks_diff

    def _port_sleep(seconds):  # the built-in one does not look at pending exceptions when it is woken
        left = int(seconds * 1000)
        sleep_us(int(seconds * 1000000) - 1000 * left)
        end = time.ticks_add(ticks_ms(), left)
        while left > 0:
            sleep_us(1000 * min(left, 60000))
            left = min(ticks_diff(end, ticks_ms()), left)

    ilistdir, stat, getcwd = os.ilistdir, os.stat, os.getcwd

    def _port_ilistdir(*path):  # the boards' filesystem tells sizes, the one of this build does not
        for entry in ilistdir(*path):
            if len(entry) < 4 and entry[2]:  # a mount point's entry has no inode, and no size on a board either
                size = 0 if entry[1] & 0x4000 else stat((path[0] if path else ".") + "/" + entry[0])[6]
                entry = (entry[0], entry[1], 0, size)
            yield entry

    words = (interrupt, sys.stdout.buffer, sys.stderr.buffer)
    words += ("kbd_intr", micropython.kbd_intr, _port_kbd_intr, "sleep", time.sleep, _port_sleep)
    words += ("ilistdir", os.ilistdir, _port_ilistdir)
    start = host.call("start", " ".join(str(id(word)) for word in words)).split()
    words = None
    address, size = int(start[0]), int(start[1])
    told = host.call("port", str(id(sys.stdout))).split()
    base, modules = told[0], told[1].split(",")
    sys.path[:] = ["", ".frozen"] + told[2:]
    stdin = "/<stdin>"
    if base != "/":
        stdin = base + stdin
        vfs.umount("/")
    if size:
        try:
            vfs.mount(vfs.VfsRom(uctypes.bytearray_at(address, size)), "/rom")
            sys.path[2:2] = ["/rom", "/rom/lib"]
        except OSError:
            pass
    if base != "/":
        vfs.mount(vfs.VfsPosix(), base)
        os.chdir(base)
    kept = None
    address, size = int(start[2]), int(start[3])
    if size:
        vfs.mount(vfs.VfsRom(uctypes.bytearray_at(address, size)), "/.rom")
        sys.path.append("/.rom")
        kept = [__import__(name) for name in modules]
        if len(kept) > 1:  # all are loaded: as in a port nothing tells that they were files
            sys.path.pop()
            vfs.umount("/.rom")
            del sys.modules["_port"]
            __import__("gc").collect()
    tries = 0
    names = start[4:] + ["<stdin>"]
    while True:
        try:
            try:
                while True:  # a Ctrl-C may strike between two files as well
                    name = names[0]
                    if name == "<stdin>":
                        tries += 1
                    else:
                        del names[0]
                    # In another folder, or on a mounted filesystem, only the absolute name leads to the port.
                    execfile(name if getcwd() == base else stdin[:-7] + name, g)
            except SystemExit:
                raise
            except BaseException as problem:
                if tries and isinstance(problem, (OSError, KeyboardInterrupt)):
                    try:  # a program may have unmounted, or mounted over, what the next one comes through
                        stat(stdin)
                    except OSError:
                        vfs.mount(vfs.VfsPosix(), base)
                    if stat(stdin)[6] < tries:  # it was not opened: the error is no program's
                        tries -= 1
                        continue
                del names[:-1]  # when one start file fails, a port does not run the next
                sys.print_exception(problem, sys.stderr.buffer)
                problem = None
        except KeyboardInterrupt:
            pass  # one more, while the first one's traceback was printed


_port()
