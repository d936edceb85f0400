# The guest's side of the explorer by contract: runs main() again and again, in a build from a source tree. It runs after
# the program. The host keeps the memory at the first "turn" and puts it back at each further one; host.call() with
# these texts allocates nothing.
def _port_explore():
    import host, sys

    g = globals()
    del g["_port_explore"]
    for name in ("main", "interrupt"):
        if name not in g:
            raise NameError("there is no function %s()" % name)
    main, interrupt, check, call = g["main"], g["interrupt"], g.get("check"), host.call
    marker, cut = KeyboardInterrupt(), KeyboardInterrupt()  # raised by the host: where am I, and stop
    hard = g.get("interrupt_hard", interrupt)  # where the two levels need two handlers
    call("explore", " ".join([str(id(word)) for word in (interrupt, hard, marker, cut)]))
    while True:
        failure = None
        try:
            try:
                call("turn", "")
                main()
            except BaseException as problem:
                failure = problem
        except KeyboardInterrupt:  # the host's, raised in that handler
            pass
        call("left", "")
        for _ in range(20):  # each turn of a loop runs one callback that still waits
            pass
        if failure is None and check is not None:
            try:
                check()
            except BaseException as problem:
                failure = problem
        if call("ended", "" if failure is None else "failed"):
            sys.print_exception(marker)
        if failure is not None:
            sys.print_exception(failure)


_port_explore()
