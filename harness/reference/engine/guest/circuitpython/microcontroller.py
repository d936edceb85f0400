# CircuitPython's microcontroller: resets, their reasons, pins, and the bytes that outlive everything.
import host, uctypes
from _board import ask, ask3, send_text, text


def _ask(request):
    return host.call("supervisor", request)


class _Names:
    def __init__(self, prefix, names):
        for name in names.split():
            setattr(self, name, _Name(prefix + name))


class _Name:
    def __init__(self, name):
        self._name = name

    def __repr__(self):
        return self._name


ResetReason = _Names(
    "microcontroller.ResetReason.",
    "POWER_ON BROWNOUT SOFTWARE DEEP_SLEEP_ALARM RESET_PIN WATCHDOG UNKNOWN RESCUE_DEBUG",
)
RunMode = _Names("microcontroller.RunMode.", "NORMAL SAFE_MODE UF2 BOOTLOADER")


class Processor:
    @property
    def reset_reason(self):
        return getattr(ResetReason, _ask("reset_reason"))

    @property
    def frequency(self):
        return ask(_FREQ, 0) * 1000

    @property
    def uid(self):
        import _board

        return bytearray(uctypes.bytearray_at(_board.BASE + _TEXT, ask(_UNIQUE_ID)))


class ByteArray:
    def __init__(self):
        self._size = int(_ask("nvm_size"))

    def __len__(self):
        return self._size

    def _range(self, index):
        if isinstance(index, slice):
            start, stop, step = index.indices(self._size)
            if step != 1:
                raise NotImplementedError("only slices with step=1 (aka None) are supported")
            return start, max(0, stop - start)
        if not -self._size <= index < self._size:
            raise IndexError("index out of range")
        return index % self._size, 1

    def __getitem__(self, index):
        start, length = self._range(index)
        data = bytearray(length)
        _ask("nvm_read %d %d %d" % (start, uctypes.addressof(data), length))
        return data if isinstance(index, slice) else data[0]

    def __setitem__(self, index, value):
        start, length = self._range(index)
        data = bytes(value) if isinstance(index, slice) else bytes([value])
        if len(data) != length:
            raise ValueError("Slice and value different lengths.")
        _ask("nvm_write %d %d %d" % (start, uctypes.addressof(data), length))


class Pin:
    def __init__(self, number):
        self._key = ask3(_PIN_KEY, send_text(number), 0, 1)  # by its number
        self._name = "microcontroller.pin.GPIO" + number

    def __repr__(self):
        return self._name


class _Pins:
    def __init__(self):
        self._made = {}

    def __getattr__(self, name):
        if name not in self._made:
            try:
                if not name.startswith("GPIO"):
                    raise ValueError
                self._made[name] = Pin(name[4:])
            except ValueError:
                raise AttributeError("no pin " + name)
        return self._made[name]


def reset():
    _ask("reset")


def on_next_reset(run_mode):
    if run_mode not in (RunMode.NORMAL, RunMode.SAFE_MODE):
        raise ValueError("Invalid run mode")
    _ask("next_mode_safe" if run_mode is RunMode.SAFE_MODE else "next_mode_normal")


def delay_us(delay):
    import utime

    utime.sleep_us(delay)


cpu, nvm, pin = Processor(), ByteArray(), _Pins()
