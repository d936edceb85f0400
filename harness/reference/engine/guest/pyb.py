# MicroPython's pyb module, as far as it is about time, sleep, pins and timers (ports/stm32/modpyb.c, timer.c, extint.c).
# Its timers and external interrupts call their handlers at the hard level.
import time
import machine
from _board import ask, ask3, handlers, slot
from machine import RTC, disable_irq, enable_irq, freq, unique_id

_FOREVER = 0x3FFFFFFF
delay = time.sleep_ms
udelay = time.sleep_us


def millis():
    return time.ticks_ms()


def micros():
    return time.ticks_us()


def elapsed_millis(start):
    return time.ticks_diff(time.ticks_ms(), start)


def elapsed_micros(start):
    return time.ticks_diff(time.ticks_us(), start)


def wfi():
    ask(_IDLE)


def stop():
    ask(_LIGHT_SLEEP, _FOREVER)


def bootloader(*_):
    ask(_RESET, 1)


machine.bootloader = bootloader


def standby():
    ask(_DEEP_SLEEP, _FOREVER)


def hard_reset():
    ask(_RESET)


class Pin(machine.Pin):
    OUT_PP = machine.Pin.OUT
    OUT_OD = machine.Pin.OPEN_DRAIN
    PULL_NONE = 0


def _pin(pin):
    return pin if isinstance(pin, machine.Pin) else Pin(pin)


class ExtInt:
    IRQ_RISING = 0x10110000
    IRQ_FALLING = 0x10210000
    IRQ_RISING_FALLING = 0x10310000

    def __init__(self, pin, mode, pull, callback):
        self._pin = _pin(pin)
        self._pin.init(machine.Pin.IN, pull)
        self._mode = (mode >> 20) & 3
        self._line = self._pin._key & 15
        self._slot = slot()
        handlers[self._slot] = [callback, self._line, "uncaught exception in ExtInt interrupt handler line %d" % self._line]
        self.enable()

    def line(self):
        return self._line

    def enable(self):
        ask3(_PIN_IRQ, self._pin._key, self._slot, self._mode | 0x100)

    def disable(self):
        ask3(_PIN_IRQ, self._pin._key, self._slot, 0)

    def swint(self):
        handlers[self._slot][0](self._line)


class Timer:
    def __init__(self, id, **kwargs):
        if id not in _PYB_TIMERS:
            raise ValueError("Timer(%d) doesn't exist" % id)
        self._id = id
        self._slot = -1
        self._callback = None
        self._ns = 0
        if kwargs:
            self.init(**kwargs)

    def init(self, *, freq=None, callback=None):
        if freq is None or freq <= 0:
            raise ValueError("must specify either freq, period, or prescaler and period")
        self.deinit()
        self._ns = int(1000000000 / freq)
        self.callback(callback)

    def callback(self, callback):
        self.deinit()
        self._callback = callback
        if callback is not None and self._ns:
            self._slot = slot()
            handlers[self._slot] = [callback, self, "uncaught exception in Timer(%d) interrupt handler" % self._id]
            ask3(_TIMER_START, 2 | self._slot << 2, self._ns // 1000000, self._ns % 1000000)

    def freq(self, freq=None):
        if freq is None:
            return 1000000000 / self._ns if self._ns else 0
        self.init(freq=freq, callback=self._callback)

    def deinit(self):
        if self._slot >= 0:
            ask(_TIMER_STOP, self._slot)
            handlers[self._slot] = None
            self._slot = -1

    def __repr__(self):
        return "Timer(%d)" % self._id
