# The guest's side of the interleaving explorer: runs main() again and again. It runs after the program, which
# defined main(), interrupt(argument) and perhaps check(). Each turn starts with the memory that the host kept
# at the first one, so the ways to the host must allocate nothing: a number in `bell`, then a look at the clock.
def _port_explore():
    import host, sys, time, uctypes

    g = globals()
    del g["_port_explore"]
    for name in ("main", "interrupt"):
        if name not in g:
            raise NameError("there is no function %s()" % name)
    interrupt, check = g["interrupt"], g.get("check")
    ring = time.ticks_us
    bell = bytearray(1)
    marker, cut = KeyboardInterrupt(), KeyboardInterrupt()  # raised by the host: where am I, and stop

    def _port_interrupt(argument):
        bell[0] = 2  # ENTERED
        ring()
        try:
            interrupt(argument)
        except BaseException:
            bell[0] = 3  # FAILED
            ring()
            raise

    words = (_port_interrupt, marker, cut)
    host.call("explore", " ".join([str(id(word)) for word in words] + [str(uctypes.addressof(bell))]))
    words = None
    while True:
        failure = None
        bell[0] = 1  # TURN
        ring()
        try:
            try:
                g["main"]()
            except BaseException as problem:
                failure = problem
        except KeyboardInterrupt:  # the host's, raised at the jump out of that handler
            pass
        bell[0] = 4  # LEFT: main() has ended
        ring()
        for _ in range(20):  # each turn of a loop runs one callback that still waits
            pass
        if failure is None and check is not None:
            try:
                check()
            except BaseException as problem:
                failure = problem
        bell[0] = 5  # ENDED: what is printed from here is not the program's
        ring()
        if failure is not None:
            sys.print_exception(failure, sys.stderr.buffer)


_port_explore()
