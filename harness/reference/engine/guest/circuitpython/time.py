# CircuitPython's time: no ticks, but a monotonic clock that goes on from the chip's start to its reset.
import host, utime
from utime import localtime, mktime, sleep


def time():
    return int(utime.time())


def monotonic_ns():
    return int(host.call("supervisor", "now"))


def monotonic():
    return monotonic_ns() / 1000000000
