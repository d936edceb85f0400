# CircuitPython's digitalio on the chip's pins.
from _board import ask3


class _Name:
    def __init__(self, name):
        self._name = "digitalio." + name

    def __repr__(self):
        return self._name


class Direction:
    INPUT = _Name("Direction.INPUT")
    OUTPUT = _Name("Direction.OUTPUT")


class Pull:
    UP = _Name("Pull.UP")
    DOWN = _Name("Pull.DOWN")


class DriveMode:
    PUSH_PULL = _Name("DriveMode.PUSH_PULL")
    OPEN_DRAIN = _Name("DriveMode.OPEN_DRAIN")


class DigitalInOut:
    def __init__(self, pin):
        self._pin = pin
        self.switch_to_input()

    def switch_to_input(self, pull=None):
        self.direction = Direction.INPUT
        self._pull = pull
        code = 1 if pull is Pull.UP else 2 if pull is Pull.DOWN else 0
        ask3(_PIN_INIT, self._pin._key, 0, code + 2 << 4 | 2)

    def switch_to_output(self, value=False, drive_mode=DriveMode.PUSH_PULL):
        self.direction = Direction.OUTPUT
        ask3(_PIN_INIT, self._pin._key, 2 if drive_mode is DriveMode.OPEN_DRAIN else 1, 1 if value else 0)

    @property
    def pull(self):
        return self._pull

    @pull.setter
    def pull(self, pull):
        self.switch_to_input(pull)

    @property
    def value(self):
        return bool(ask3(_PIN_VALUE, self._pin._key, _NOTHING))

    @value.setter
    def value(self, level):
        if self.direction is Direction.INPUT:
            raise AttributeError("Cannot set value when direction is input.")
        ask3(_PIN_VALUE, self._pin._key, 1 if level else 0)

    def deinit(self):
        self.switch_to_input()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.deinit()
