# The port layer of a VM that was built without one: run from `-c` at every start of the VM.
# It tells the host where some objects are, mounts the ROMFS region that the host mapped, runs the start
# files, and then executes one program after another: opening "<stdin>" waits for the next one.
def _port():
    import host, micropython, sys, time, uctypes, vfs

    g = globals()
    del g["_port"]
    interrupt = KeyboardInterrupt()  # stays referenced from here: the host raises it for Ctrl-C

    def _port_kbd_intr(char):  # takes the place of the built-in one, which does nothing in this build
        host.call("kbd_intr", str(int(char)))

    sleep_ms = time.sleep_ms

    def _port_sleep(seconds):  # the built-in one waits in one piece and does not hear Ctrl-C
        sleep_ms(int(seconds * 1000))

    words = (interrupt, sys.stdout.buffer)
    words += ("kbd_intr", micropython.kbd_intr, _port_kbd_intr, "sleep", time.sleep, _port_sleep)
    start = host.call("start", " ".join(str(id(word)) for word in words)).split()
    words = None
    address, size = int(start[0]), int(start[1])
    sys.path[:] = ["", ".frozen", "/lib"]
    if size:
        try:
            vfs.mount(vfs.VfsRom(uctypes.bytearray_at(address, size)), "/rom")
            sys.path[2:2] = ["/rom", "/rom/lib"]
        except OSError:
            pass
    for name in start[2:] + ["<stdin>"]:
        while True:
            try:
                execfile(name, g)
            except SystemExit:
                raise
            except BaseException as problem:
                sys.print_exception(problem, sys.stderr)
                problem = None
            if name != "<stdin>":
                break


_port()
