# CircuitPython's `alarm`: what wakes a chip, and the memory that its sleep keeps.
import host, supervisor, uctypes, utime


def _ask(text):
    return host.call("supervisor", text)


class _SleepMemory:
    def __init__(self):
        page, size = [int(word) for word in _ask("sleep_memory").split()]
        self._memory = memoryview(uctypes.bytearray_at(page, size))

    def __len__(self):
        return len(self._memory)

    def __bool__(self):
        return len(self._memory) > 0

    def __getitem__(self, index):
        value = self._memory[index]
        return value if isinstance(index, int) else bytearray(value)

    def __setitem__(self, index, value):
        self._memory[index] = value


class TimeAlarm:
    def __init__(self, *, monotonic_time=None, epoch_time=None):
        if (monotonic_time is None) == (epoch_time is None):
            raise ValueError("Supply one of monotonic_time or epoch_time")
        now = int(_ask("now")) / 1000000000
        if monotonic_time is None:
            monotonic_time = now + epoch_time - utime.time()
        if monotonic_time < now:
            raise ValueError("Time is in the past.")
        self.monotonic_time = monotonic_time


class PinAlarm:
    def __init__(self, pin, value, edge=False, pull=False):
        if edge:
            raise ValueError("Cannot wake on pin edge. Only level.")
        self.pin, self.value, self.pull = pin, bool(value), pull


class _Time:
    TimeAlarm = TimeAlarm


class _Pin:
    PinAlarm = PinAlarm


def _arm(alarms):
    pins, times = "", []
    for alarm in alarms:
        if isinstance(alarm, TimeAlarm):
            times.append(alarm.monotonic_time)
        elif isinstance(alarm, PinAlarm):
            pins += " %d %d" % (alarm.pin._key, alarm.value)
        else:
            raise TypeError("Expected an alarm")
    if not alarms:
        raise ValueError("no alarm to wake up by")
    _ask("wake_pins" + pins)
    return int(min(times) * 1000) if times else -1


def _alarm(text, alarms):
    # The one of `alarms` that the host names, or a new one for a program that did not make it.
    kind, number = text.split()
    if kind == "time":
        for alarm in alarms:
            if isinstance(alarm, TimeAlarm):
                return alarm
        return TimeAlarm(monotonic_time=int(_ask("now")) / 1000000000 + 1)
    for alarm in alarms:
        if isinstance(alarm, PinAlarm) and alarm.pin._key == int(number):
            return alarm
    import microcontroller

    return PinAlarm(getattr(microcontroller.pin, "GPIO" + number), True)


def light_sleep_until_alarms(*alarms):
    return _alarm(_ask("light %d" % _arm(alarms)), alarms)


def exit_and_deep_sleep_until_alarms(*alarms, preserve_dios=()):
    if _ask("sleep %d" % _arm(alarms)):
        raise RuntimeError("not from the REPL")
    raise supervisor.DeepSleepRequest


time, pin = _Time(), _Pin()
sleep_memory = _SleepMemory()
_woken = _ask("woken")
wake_alarm = _alarm(_woken, ()) if _woken else None
