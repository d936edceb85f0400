# MicroPython's esp32 module, as far as it is about waking from sleep (ports/esp32/modesp32.c).
from _board import ask3

WAKEUP_ALL_LOW = False
WAKEUP_ANY_HIGH = True


def wake_on_ext0(pin=None, level=None):
    ask3(_WAKE_EXT0, _NOTHING if pin is None else pin._key, 1 if level else 0)


def wake_on_ext1(pins=None, level=None):
    ask3(_WAKE_EXT1, _NOTHING, 0)
    for pin in pins or ():
        ask3(_WAKE_EXT1, pin._key, 1 if level else 0)
