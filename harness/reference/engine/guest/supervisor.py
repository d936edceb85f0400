# CircuitPython's `supervisor`, as far as it is about what outlives the VM (see docs/supervisor.md).
# It is an instance in sys.modules, for a module of MicroPython cannot have an attribute that is computed or checked.
import builtins, host, sys, uctypes

# Its word points to the newest allocation in this heap and each of these to the one before: for the collector,
# which looks at every word it reaches, this is the only thing that keeps them alive.
_root = bytearray(4)


def _ask(text):
    return host.call("supervisor", text)


def _offer(what):
    # The host looks for a hole of the right length; otherwise it says how large a piece of this heap it needs.
    size = int(_ask(what + " 0"))
    if size:
        node = bytearray(size)
        if int(_ask(what + " %d" % uctypes.addressof(node))):
            raise MemoryError("the supervisor has no handle left")


def _keep(verb, data):
    _offer("%s %d %d" % (verb, uctypes.addressof(data), len(data)))


class _Name:
    def __init__(self, name):
        self._name = name

    def __repr__(self):
        return self._name

    def __eq__(self, other):
        return isinstance(other, _Name) and self._name == other._name

    def __hash__(self):
        return hash(self._name)


class RunReason:
    pass


_reasons = []
for _name in ("STARTUP", "AUTO_RELOAD", "SUPERVISOR_RELOAD", "REPL_RELOAD"):
    _reasons.append(_Name("supervisor.RunReason." + _name))
    setattr(RunReason, _name, _reasons[-1])


class SafeModeReason:
    def __getattr__(self, name):
        return _Name("supervisor.SafeModeReason." + name)


class Runtime:
    serial_connected = True
    usb_connected = False

    @property
    def run_reason(self):
        return _reasons[_reason]

    @property
    def safe_mode_reason(self):
        return _Name("supervisor.SafeModeReason." + _ask("safe_mode"))

    @property
    def autoreload(self):
        return _ask("autoreload") == "1"

    @autoreload.setter
    def autoreload(self, on):
        _ask("autoreload_on" if on else "autoreload_off")


# SystemExit is what ends the VM here; no program that catches Exception stops these.
class ReloadException(SystemExit):
    pass


class DeepSleepRequest(SystemExit):
    pass


class _Supervisor:
    RunReason = RunReason
    SafeModeReason = SafeModeReason()
    DeepSleepRequest = DeepSleepRequest
    runtime = Runtime()

    def _allocate(self, length):
        # What a port's C code does for a display or a frame buffer that a program makes.
        _offer("client %d" % length)

    def ticks_ms(self):
        return int(_ask("now")) // 1000000 & 0x1FFFFFFF

    @property
    def persisted_bytes(self):
        size = int(_ask("length"))
        if size < 0:
            return None
        data = bytearray(size)
        _ask("read %d" % uctypes.addressof(data))
        return bytes(data)

    @persisted_bytes.setter
    def persisted_bytes(self, data):
        if data is None:
            _ask("drop")
            return
        if isinstance(data, str):
            raise TypeError("persisted_bytes must be bytes-like or None, not str")
        if not isinstance(data, (bytes, bytearray)):
            data = bytes(memoryview(data))
        _keep("persist", data)

    def set_next_code_file(
        self,
        filename,
        *,
        reload_on_success=False,
        reload_on_error=False,
        sticky_on_success=False,
        sticky_on_error=False,
        sticky_on_reload=False
    ):
        if filename is not None and not isinstance(filename, (str, bytes)):
            raise TypeError("filename must be of type str or None, not " + type(filename).__name__)
        name = b"" if filename is None else filename.encode() if isinstance(filename, str) else filename
        if name and int(_ask("exists %d %d" % (uctypes.addressof(name), len(name)))) == 0:
            raise ValueError("File not found")
        options = 0
        for flag in (sticky_on_reload, sticky_on_error, sticky_on_success, reload_on_error, reload_on_success):
            options = 2 * options + bool(flag)
        if name or options:
            _keep("next", bytes([options]) + name)
        else:
            _ask("forget")

    def reload(self):
        _ask("reload")
        raise ReloadException

    def _run(self, name, namespace):
        ended = "success"
        try:
            builtins.execfile(name, namespace)
        except (ReloadException, DeepSleepRequest):
            raise
        except SystemExit:
            pass
        except BaseException as problem:
            ended = "error"
            sys.print_exception(problem, sys.stderr.buffer)
        _ask(ended)


_reason = int(_ask("attach %d" % uctypes.addressof(_root)))
sys.modules["supervisor"] = _Supervisor()
