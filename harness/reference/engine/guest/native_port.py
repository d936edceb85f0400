# The port layer of a native unix build: run from `-c` at every start of the VM. It takes one program after
# another from the host: a length in a line, then the source. What it says to the host goes through a pipe of its
# own, the error a program ended by too, so that the console is the program's alone; the numbers of the two pipes are
# filled in.
def _port():
    import sys

    print_exception = sys.print_exception  # what CPython has not
    g = globals()
    del g["_port"]
    commands, answers = open(%d, "rb"), open(%d, "wb")

    while True:
        answers.write(b"\x04ready\n")
        head = b""
        while not head.endswith(b"\n"):
            byte = commands.read(1)
            if not byte:
                return
            head += byte
        source = commands.read(int(head))
        try:
            code = compile(source, "<stdin>", "exec")
            source = None
            exec(code, g)
        except SystemExit:
            answers.write(b"\x04exit\n")
            raise
        except BaseException as problem:
            print_exception(problem, answers)
            problem = None
        code = source = None


_port()
