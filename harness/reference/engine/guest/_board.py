# The guest's side of the board around a reference VM with a chip: a page of registers outside the heap, which
# the host reads whenever the clock is read. Asking for a service therefore allocates nothing, as on a chip.
# Constants with an underscore are put in front of this file, with their values, when it is compiled.
import host, io, micropython, sys, time, uctypes
from umachine import mem8, mem32

_ticks_us = time.ticks_us
_sleep_ms = time.sleep_ms
_sleep_us = time.sleep_us
_heap_lock = micropython.heap_lock
_heap_unlock = micropython.heap_unlock

# The scheduler's queue beyond what this build has, as words that the host moves; the last two pass objects.
_slots = [None] * (2 * _QUEUE_DEPTH + 2)
# Index -> [handler, argument, text for an uncaught exception]; keeps them referenced, as a port's root pointers do.
handlers = []


# A port's own functions are in C, and no callback runs in them. The VM looks for callbacks at jumps, so what
# stands for a C function has none on its way: errors are told by calling one of two functions.
def _nothing():
    pass


def ask(command, a=0):
    mem32[_A] = a
    mem32[_COMMAND] = command
    _ticks_us()
    result = mem32[_RESULT]
    _ends[mem32[_ERROR]]()
    return result


def ask3(command, a, b, c=0):
    mem32[_B] = b
    mem32[_C] = c
    return ask(command, a)


def _fail():
    mem32[_COMMAND] = _ERROR_TEXT
    _ticks_us()
    text = str(uctypes.bytearray_at(BASE + _TEXT, mem32[_RESULT]), "utf-8")
    raise (ValueError, OSError, TypeError, NotImplementedError)[mem32[_ERROR]](text)


_ends = (_nothing, _fail)


def send_text(text):
    data = text.encode()
    uctypes.bytearray_at(BASE + _TEXT, len(data))[:] = data
    return len(data)


def text(command, a=0):
    size = ask(command, a)
    return str(uctypes.bytearray_at(BASE + _TEXT, size), "utf-8")


def slot():
    for index in range(len(handlers)):
        if handlers[index] is None:
            return index
    handlers.append(None)
    return len(handlers) - 1


def _hard(index):
    # A handler at the hard level may not allocate. Here it runs at the VM's next check, with the heap locked.
    entry = handlers[index]
    if entry is None or entry[0] is None:
        return
    failure = None
    _heap_lock()
    try:
        entry[0](entry[1])
    except BaseException as problem:
        failure = problem
    _heap_unlock()
    if failure is not None:
        entry[0] = None
        ask(_IRQ_OFF, index)
        print(entry[2])
        text = io.StringIO()
        sys.print_exception(failure, text)
        for line in text.getvalue().split("\n")[:-1]:
            if '"<board>"' not in line:
                print(line)


def wait(ms, flag):
    # Until something happens, the time is over (negative: never), or the byte at the address `flag` is set.
    ask3(_WAIT, ms, flag)


def sleep_ms(ms):
    mem32[_A] = ms
    mem32[_COMMAND] = _SLEEP_HINT  # heard when the built-in function reads the clock
    try:
        _sleep_ms(ms)
    finally:
        mem32[_COMMAND] = _SLEEP_END
        _ticks_us()


def sleep(seconds):
    us = int(seconds * 1000000)
    sleep_ms(us // 1000)
    _sleep_us(us % 1000)


def schedule(function, argument):
    _slots[2 * _QUEUE_DEPTH] = function
    _slots[2 * _QUEUE_DEPTH + 1] = argument
    mem32[_COMMAND] = _SCHEDULE
    _ticks_us()
    _slots[2 * _QUEUE_DEPTH + 1] = None
    _accepted[mem32[_RESULT]]()


def _queue_full():
    raise RuntimeError("schedule queue full")


_accepted = (_queue_full, _nothing)


def _start():
    words = ["sleep_ms", _sleep_ms, sleep_ms, "sleep", time.sleep, sleep]
    if _QUEUE_DEPTH > _BUILT_IN_DEPTH:
        words += ["schedule", micropython.schedule, schedule]
    words += [_slots, handlers, _hard]
    return int(host.call("board", " ".join([str(id(word)) for word in words])))


BASE = _COMMAND = _start()  # guest address of the page of registers
_A = BASE + 4
_B = BASE + 8
_C = BASE + 12
_RESULT = BASE + 16
_ERROR = BASE + 20
