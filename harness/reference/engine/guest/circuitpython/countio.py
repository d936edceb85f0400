# CircuitPython's countio: edges are counted beside the VM, whatever the program does meanwhile.
import host
from _board import ask3


class _Name:
    def __init__(self, name):
        self._name = "countio.Edge." + name
        self._kind = ("RISE", "FALL", "RISE_AND_FALL").index(name) + 1

    def __repr__(self):
        return self._name


class Edge:
    RISE = _Name("RISE")
    FALL = _Name("FALL")
    RISE_AND_FALL = _Name("RISE_AND_FALL")


class Counter:
    def __init__(self, pin, *, edge=Edge.FALL, pull=None):
        import digitalio

        self._key = pin._key
        code = 1 if pull is digitalio.Pull.UP else 2 if pull is digitalio.Pull.DOWN else 0
        ask3(_PIN_INIT, self._key, 0, code + 2 << 4 | 2)
        host.call("supervisor", "count_start %d %d" % (self._key, edge._kind))

    @property
    def count(self):
        return int(host.call("supervisor", "count %d" % self._key))

    @count.setter
    def count(self, value):
        host.call("supervisor", "count_set %d %d" % (self._key, value))

    def reset(self):
        self.count = 0

    def deinit(self):
        host.call("supervisor", "count_stop %d" % self._key)
