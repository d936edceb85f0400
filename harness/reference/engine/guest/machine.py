# MicroPython's machine module for a reference VM with a chip: the parts about time, sleep, pins and timers.
# Constants with an underscore, and the chip's own ones, are put in front of this file when it is compiled.
import io, sys, time, uctypes
import _board
import umachine
from _board import ask, ask3, handlers, send_text, slot, text
from umachine import PinBase, Signal, mem8, mem16, soft_reset, time_pulse_us
from umachine import mem32 as _memory

_FOREVER = 0x3FFFFFFF


def _duration(args):
    return args[0] if args and args[0] is not None else _FOREVER


def idle():
    ask(_IDLE)


def lightsleep(*ms):
    ask(_LIGHT_SLEEP, _duration(ms))


def deepsleep(*ms):
    ask(_DEEP_SLEEP, _duration(ms))


sleep = lightsleep


def reset():
    ask(_RESET)


def reset_cause():
    return ask(_RESET_CAUSE)


def unique_id():
    return bytes(uctypes.bytearray_at(_board.BASE + _TEXT, ask(_UNIQUE_ID)))


def freq(*hz):
    # In units of 1 kHz on the way, so that the number is a small integer.
    if hz:
        ask(_FREQ, hz[0] // 1000)
    elif _STM32:
        return tuple([int(n) for n in text(_CLOCKS).split()])
    else:
        return ask(_FREQ, 0) * 1000


def disable_irq():
    return ask(_LOCK, 1)


def enable_irq(state=True):
    ask(_LOCK, 0 if state is True else state)


if _ESP32:

    def wake_reason():
        return ask(_WAKE_REASON)

    def wake_pins():
        return tuple([int(n) for n in text(_WAKE_PINS).split()])


class _Irq:
    def __init__(self, pin):
        self._pin = pin

    def __call__(self):
        handlers[self._pin._slot][0](self._pin)

    def trigger(self, trigger=_NOTHING):
        return ask3(_PIN_TRIGGER, self._pin._key, trigger)

    def flags(self):
        return ask(_PIN_FLAGS, self._pin._key)


_pins = {}
_levels = (0, 1, None)


class Pin(PinBase):
    IN = _IN
    OUT = _OUT
    OPEN_DRAIN = _OPEN_DRAIN
    PULL_UP = _UP
    if _DOWN >= 0:
        PULL_DOWN = _DOWN
    IRQ_RISING = 1
    IRQ_FALLING = 2
    if _ESP32:
        WAKE_LOW = IRQ_LOW_LEVEL = 4
        WAKE_HIGH = IRQ_HIGH_LEVEL = 5

    def __new__(cls, id, *args, **kwargs):
        if isinstance(id, Pin):
            key = id._key
        else:
            key = ask3(_PIN_KEY, send_text(str(id)), isinstance(id, str), isinstance(id, int))
        pin = _pins.get(key)
        if pin is None:
            pin = super().__new__(cls)
            pin._key = key
            pin._slot = -1
            _pins[key] = pin
        return pin

    def __init__(self, id, *args, **kwargs):
        if args or kwargs:
            self.init(*args, **kwargs)

    def init(self, mode=-1, pull=-1, *, value=None, drive=None, hold=None, alt=None):
        level = 2 if value is None else 1 if value else 0
        kind = -1 if mode is None or mode == -1 else 2 if mode == _OPEN_DRAIN else 1 if mode == _OUT else 0
        if pull is not None and pull > 0:
            pull = 1 if pull & _UP else 2
        ask3(_PIN_INIT, self._key, kind, level if pull is None else (pull + 2 << 4) | level)

    def value(self, level=_NOTHING):
        return _levels[ask3(_PIN_VALUE, self._key, level)]

    __call__ = value

    def on(self):
        ask3(_PIN_VALUE, self._key, 1)

    def off(self):
        ask3(_PIN_VALUE, self._key, 0)

    if not _ESP8266:
        high = on
        low = off

    def toggle(self):
        ask3(_PIN_VALUE, self._key, ask3(_PIN_VALUE, self._key, _NOTHING) ^ 1)

    def __repr__(self):
        return text(_PIN_REPR, self._key)

    def _attach(self, handler, trigger, hard, wake):
        if self._slot < 0:
            self._slot = slot()
        handlers[self._slot] = [handler, self, "uncaught exception in ExtInt interrupt handler line %d" % (self._key & 15)]
        mode = trigger | (0x100 if hard else 0) | (0x200 if wake else 0)
        if handler is None:
            mode = 0
        ask3(_PIN_IRQ, self._key, self._slot, mode)

    if _ESP32:

        def irq(self, handler=None, trigger=3, wake=None):
            self._attach(handler, trigger, False, wake)
            return _Irq(self)

    elif _ESP8266:

        def irq(self, handler=None, trigger=3, hard=False):
            if self._key == 16:
                raise OSError("pin does not have IRQ capabilities")
            if hard:
                raise ValueError("hard IRQ not supported")
            self._attach(handler, trigger, False, None)
            return _Irq(self)

    else:

        def irq(self, handler=None, trigger=3, hard=False):
            self._attach(handler, trigger, hard, None)


_hardware_timers = {}


class Timer:
    ONE_SHOT = _ONE_SHOT
    PERIODIC = _PERIODIC

    def __new__(cls, id=-1, **kwargs):
        if id != -1 and not (_HARDWARE_TIMERS and 0 <= id < _HARDWARE_TIMERS):
            raise ValueError("invalid Timer number" if _HARDWARE_TIMERS else "Timer doesn't exist")
        timer = _hardware_timers.get(id)
        if timer is None:
            timer = object.__new__(cls)
            timer._slot = -1
            if id >= 0:
                _hardware_timers[id] = timer
        return timer

    def __init__(self, id=-1, **kwargs):
        self._id = id
        if kwargs:
            self.init(**kwargs)

    def init(self, *, mode=_PERIODIC, period=-1, freq=-1, callback=None, hard=False, tick_hz=1000):
        if hard and _HARD_REFUSED:
            raise ValueError(_HARD_REFUSED)
        self.deinit()
        if freq != -1:
            ns = int(1000000000 // freq)
        else:
            ns = int(period * 1000000000 // tick_hz)
        if ns <= 0:
            raise ValueError("period too small" if _ESP8266 else "invalid period")
        self._slot = slot()
        handlers[self._slot] = [callback, self, "uncaught exception in timer callback"]
        flags = (1 if mode == _ONE_SHOT else 0) | (2 if hard else 0) | self._slot << 2
        ask3(_TIMER_START, flags, ns // 1000000, ns % 1000000)

    def deinit(self):
        if self._slot >= 0:
            ask(_TIMER_STOP, self._slot)
            handlers[self._slot] = None
            self._slot = -1

    if _ESP32:

        def value(self):
            return ask(_TIMER_VALUE, self._slot) if self._slot >= 0 else 0

    def __repr__(self):
        return "Timer(%d)" % self._id


if not _ESP8266:

    class UART(io.IOBase):
        IRQ_RXIDLE = 0x1000 if _ESP32 else 0x10
        IRQ_RX = 1 if _ESP32 else 0x20

        def __init__(self, id, *args, **kwargs):
            if not _UARTS >> id & 1:
                raise ValueError(("UART(%d) does not exist" if _ESP32 else "UART(%d) doesn't exist") % id)
            self._id = id
            self._slot = -1
            if _ESP32 or args or kwargs:
                self.init(*args, **kwargs)

        def init(
            self, baudrate=0, bits=8, parity=None, stop=1, *, timeout=0, timeout_char=0, rxbuf=_UART_BUFFER, **more
        ):
            if _STM32 and more:
                raise TypeError("extra keyword arguments given")
            words = [self._id, baudrate, 1 + bits + (parity is not None) + stop, timeout, timeout_char, rxbuf]
            for pin in ("tx", "rx"):
                words.append(Pin(more[pin])._key if pin in more else -1)
            ask(_UART_OPEN, send_text(" ".join([str(word) for word in words])))

        def deinit(self):
            ask(_UART_CLOSE, self._id)

        def any(self):
            return ask(_UART_ANY, self._id)

        def ioctl(self, request, argument):
            if request != 3:  # MP_STREAM_POLL
                return -1
            return argument & (5 if ask(_UART_ANY, self._id) else 4)

        def readinto(self, buf, size=-1):
            if size < 0:
                size = len(buf)
            count = -2
            while count < -1:  # its callbacks run at this jump
                count = ask3(_UART_READ, self._id, uctypes.addressof(buf), size)
            return None if count < 0 else count

        def read(self, size=-1):
            buf = bytearray(ask(_UART_ANY, self._id) or 1 if size < 0 else size)
            count = self.readinto(buf)
            if count is None:
                return None
            return bytes(buf[:count]) + (size < 0 and self.read() or b"")

        def write(self, buf):
            return ask3(_UART_WRITE, self._id, uctypes.addressof(buf), len(buf))

        def irq(self, handler=_NOTHING, trigger=0, hard=False):
            # What it returns is the UART itself, which has an irq object's methods.
            if handler is not _NOTHING:
                if trigger & ~(0x1001 if _ESP32 else 0x30):
                    raise ValueError("trigger 0x%04x unsupported" % trigger)
                if hard and _ESP32:
                    raise ValueError("hard IRQ is not supported")
                if self._slot < 0:
                    self._slot = slot()
                handlers[self._slot] = [handler, self, "Uncaught exception in IRQ callback handler"]
                ask3(_UART_IRQ, self._id, self._slot, trigger | (0x2000 if hard else 0) if handler else 0)
            return self

        def flags(self):
            return ask3(_UART_FLAGS, self._id, _NOTHING)

        def trigger(self, trigger=_NOTHING):
            return ask3(_UART_FLAGS, self._id, trigger)


class WDT:
    def __init__(self, id=0, timeout=5000):
        ask(_WDT, timeout)

    def feed(self):
        ask(_WDT, 0)


class RTC:
    if _ESP8266:
        ALARM0 = 0

    def init(self, datetime=None):
        if datetime is not None:
            self.datetime(datetime)

    def datetime(self, when=None):
        if when is None:
            return tuple([int(part) for part in text(_GET_DATETIME).split()])
        ask(_SET_DATETIME, send_text(" ".join([str(int(part)) for part in when])))

    if _RTC_MEMORY:

        def memory(self, data=None):
            if data is None:
                return bytes(uctypes.bytearray_at(_board.BASE + _BACKUP, ask(_RTC_LENGTH, _NOTHING)))
            size = len(data)
            ask(_RTC_LENGTH, size)
            if size:
                uctypes.bytearray_at(_board.BASE + _BACKUP, size)[:] = data

    if _ESP8266:

        def alarm(self, id, when, repeat=False):
            ask(_RTC_ALARM, when)

        def alarm_left(self, id=0):
            return ask(_RTC_LEFT)

        def irq(self, *, trigger=0, wake=0, handler=None):
            ask(_RTC_WAKE, 1 if wake & 4 else 0)

    if _STM32:

        def wakeup(self, ms=None, callback=None):
            ask(_RTC_ALARM, 0 if ms is None else ms)


if _BACKUP_MEMORY:

    def mem_backup(region=0):
        if region == -1:
            return (mem_backup(0),)
        if region != 0:
            raise ValueError("invalid region")
        return uctypes.bytearray_at(_board.BASE + _BACKUP, _BACKUP_MEMORY)


if _BACKUP_REGISTERS:

    class _Mem32:
        # The backup registers stand where the chip has them; every other address is guest memory.
        def __getitem__(self, address):
            return _memory[self._at(address)]

        def __setitem__(self, address, value):
            _memory[self._at(address)] = value

        def _at(self, address):
            offset = address - 0x40002850
            return _board.BASE + _REGISTERS + offset if 0 <= offset < 4 * _BACKUP_REGISTERS else address

    mem32 = _Mem32()
else:
    mem32 = _memory
