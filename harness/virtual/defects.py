"""Firmware with one seeded defect each: what the suites must catch, and by which scenario. See :mod:`.defect`."""

from __future__ import annotations

from harness.chips import Reset
from harness.reference.guest_rom import Service
from harness.virtual.defect import HEALTHY, Defect
from harness.virtual.defect_effects import (
    SHORT_FLOATS,
    SYS_PATH,
    after,
    always_hard,
    any_length,
    argument,
    at_start,
    before_the_last,
    cause,
    compile_hook,
    cut_files,
    deaf,
    deaf_in_poll,
    deaf_in_sleep,
    deliver,
    double,
    drop,
    every,
    flip,
    ghost_timer,
    give_up,
    last_first,
    late,
    leak,
    less_heap,
    lie_in_callbacks,
    limit_rtc,
    lose_rtc,
    never_hard,
    paste_loses,
    rare_looks,
    replaced,
    reset_chip,
    service,
    set_back,
    shallow,
    short_at_the_edge,
    soft,
    stay,
    stop_clock,
    swap_edges,
    take_long,
    taken_for,
    tell_soft_reset,
    thin,
    timer_scale,
)
from harness.virtual.defects_circuitpython import CIRCUITPYTHON_DEFECTS
from harness.virtual.defects_flash import FLASH_DEFECTS
from harness.virtual.defects_uart import UART_DEFECTS

__all__ = ["DEFECTS", "HEALTHY", "Defect"]

# -- the table ------------------------------------------------------------------------------------

_SLEEP = "deep_sleep: sleeps as long*"
_EDGES = "interrupt: each edge*"
_LATENCY = "interrupt: latency"
_FILES = "reload: files are kept"
_RTC_RELOAD = "reload: rtc memory and clock*"
_LEAK = "reload: reloads neither leak*"

_GROWTH = "calibration: containers grow*"
_TOGETHER = "interrupt: callbacks that wait together*"


def _miscompiled(sentence: str, caught: str, old: str, new: str) -> Defect:
    """What Python cannot be given in another way: one expression of a program is compiled as another."""
    return Defect(sentence, (caught,), compile_hook(old, new), wire=taken_for(old, new))


DEFECTS: dict[str, Defect] = (
    {
        # calibration
        "float_9_digits": Defect(
            "the text of a float has nine digits", ("calibration: floats come back*",), at_start(*SHORT_FLOATS)
        ),
        "product_bit_192": _miscompiled(
            "bit 192 of a product of long integers is wrong",
            "calibration: long integers*",
            "left * right",
            "left * right ^ 1 << 192",
        ),
        "append_third_slower": _miscompiled(
            "appending to a list takes a third longer",
            "calibration: micro*",
            "a.append(i)",
            "a.append(i)\n        i + i\n        i + i",
        ),
        "list_room_for_12": _miscompiled(
            "a new list has room for twelve items", _GROWTH, "made = []", "made = [None] * 12\n    del made[:]"
        ),
        "dict_room_for_12": _miscompiled(
            "a new dict has room for twelve items",
            _GROWTH,
            "made = {}",
            "made = {n: n for n in range(12)}\n    while made:\n        made.popitem()",
        ),
        "bytearray_block_more": _miscompiled(
            "a bytearray takes a block more than it fills",
            "calibration: odd sizes*",
            "bytearray(size)",
            "bytearray(size + 16)",
        ),
        "literals_not_interned": _miscompiled(
            "the same literal is another object each time",
            "calibration: the same name*",
            "'hx_same'",
            "str(b'hx_same', 'utf-8')",
        ),
        "exception_64_more": _miscompiled(
            "an exception takes 64 bytes more",
            "calibration: an exception*",
            'ValueError("hx: raised on purpose")',
            'ValueError("hx: raised on purpose", bytearray(40))',
        ),
        # reload
        "leak16": Defect("each soft reset leaves 16 bytes less heap", (_LEAK,), leak(16)),
        "leak64": Defect("each soft reset leaves 64 bytes less heap", (_LEAK,), leak(64)),
        "leak1k": Defect("each soft reset leaves 1024 bytes less heap", (_LEAK,), leak(1024)),
        "heap_shrinks": Defect("each soft reset gives the VM 64 bytes less heap", (_LEAK,), no_heap=less_heap(64)),
        "reload_does_nothing": Defect(
            "a soft reset prints its text and leaves the VM as it is",
            ("reload: globals*", "reload: the vm restarts*"),
            wire=stay,
        ),
        "reload_resets_chip": Defect("a soft reset resets the chip", ("reload: *",), wire=reset_chip),
        "reload_slow": Defect(
            "a soft reset takes more than three seconds", ("reload: the vm restarts*",), wire=take_long
        ),
        "reload_loses_rtc": Defect("a soft reset clears RTC memory", (_RTC_RELOAD,), wire=after(Reset.SOFT, lose_rtc)),
        "reload_flips_rtc": Defect(
            "a soft reset flips a bit of RTC memory", (_RTC_RELOAD,), wire=after(Reset.SOFT, flip(77))
        ),
        "reload_loses_clock": Defect(
            "a soft reset sets the real-time clock back", (_RTC_RELOAD,), wire=after(Reset.SOFT, set_back)
        ),
        "reload_loses_buffers": Defect(
            "a soft reset skips the filesystem's sync", (_FILES,), wire=after(Reset.SOFT, cut_files)
        ),
        "reload_keeps_timer": Defect(
            "what a timer drove goes on after a soft reset",
            ("reload: what was running*",),
            wire=after(Reset.SOFT, ghost_timer),
        ),
        "exit_ignored": Defect(
            "sys.exit() does not restart the VM",
            ("reload: the vm restarts*exit*",),
            replaced("except SystemExit:\n                raise\n", "except SystemExit:\n                pass\n"),
        ),
        "sys_path_lost": Defect(
            "a soft reset leaves sys.path with its first entry only",
            ("reload: sys path*",),
            replaced(SYS_PATH, f'{SYS_PATH}\n    if int(host.call("count", "soft")):\n        del sys.path[1:]'),
            wire=tell_soft_reset,
        ),
        "recursion_unchecked": _miscompiled(
            "endless recursion resets the chip",
            "reload: endless recursion*",
            "deeper(n + 1) + 1",
            "deeper(n + 1) + 1 if n < 8 else __import__('machine').reset()",
        ),
        "soft_reset_ignored": Defect(
            "machine.soft_reset() does nothing",
            ("reload: the vm restarts*soft_reset*",),
            guest=("machine", "def idle():", "def soft_reset():\n    pass\n\n\ndef idle():"),
        ),
        # deep sleep
        "sleep_3_percent_short": Defect(
            "deep sleep is 3 % short",
            ("deep_sleep: the sleep clock*", _SLEEP),
            wire=argument(Service.DEEP_SLEEP, lambda ms: int(ms * 0.97)),
        ),
        "sleep_10_percent_long": Defect(
            "deep sleep is 10 % long",
            ("deep_sleep: the sleep clock*", _SLEEP),
            wire=argument(Service.DEEP_SLEEP, lambda ms: int(ms * 1.1)),
        ),
        "sleep_returns_at_once": Defect(
            "deep sleep ends at once", (_SLEEP,), wire=argument(Service.DEEP_SLEEP, lambda _ms: 1)
        ),
        "sleep_granularity": Defect(
            "deep sleep lasts whole seconds only",
            (_SLEEP,),
            wire=argument(Service.DEEP_SLEEP, lambda ms: ms // 1000 * 1000 + 1),
        ),
        "wake_cause_power_on": Defect(
            "a wake looks like a power-on", (_SLEEP,), wire=cause(Reset.DEEP_SLEEP, Reset.POWER_ON)
        ),
        "wake_cause_watchdog": Defect(
            "a wake looks like a watchdog's reset", (_SLEEP,), wire=cause(Reset.DEEP_SLEEP, Reset.WATCHDOG)
        ),
        "wake_reason_pin": Defect(
            "the timer's wake is told as a pin's",
            (_SLEEP,),
            wire=service(Service.WAKE_REASON, lambda _a, _o: lambda a, b, c: 2),
            families=("esp32",),
        ),
        "reset_cause_sleep": Defect(
            "machine.reset() looks like a wake",
            ("deep_sleep: machine reset*",),
            wire=cause(Reset.MACHINE, Reset.DEEP_SLEEP),
        ),
        "pulse_cause_software": Defect(
            "the reset input looks like machine.reset()",
            ("deep_sleep: a reset pulse*",),
            wire=cause(Reset.PIN, Reset.MACHINE),
            families=("esp32", "esp8266"),
        ),
        "power_cut_cause": Defect(
            "a power-on looks like a watchdog's reset",
            ("deep_sleep: a power cut*",),
            wire=cause(Reset.POWER_ON, Reset.WATCHDOG),
        ),
        "wake_pin_reason_timer": Defect(
            "a pin's wake is told as the timer's",
            ("deep_sleep: a pin ends*",),
            wire=service(Service.WAKE_REASON, lambda _a, _o: lambda a, b, c: 4),
            families=("esp32",),
        ),
        "sleep_loses_rtc": Defect("deep sleep clears RTC memory", (_SLEEP,), wire=after(Reset.DEEP_SLEEP, lose_rtc)),
        "sleep_flips_rtc": Defect(
            "deep sleep flips a bit of RTC memory", (_SLEEP,), wire=after(Reset.DEEP_SLEEP, flip(200))
        ),
        "sleep_loses_last_byte": Defect(
            "deep sleep loses the last byte of RTC memory", (_SLEEP,), wire=after(Reset.DEEP_SLEEP, flip(-1))
        ),
        "sleep_loses_rtc_at_times": Defect(
            "every fourth deep sleep clears RTC memory",
            ("deep_sleep: cycles*",),
            wire=after(Reset.DEEP_SLEEP, every(4, lose_rtc)),
        ),
        "sleep_stops_clock": Defect("the real-time clock stands during deep sleep", (_SLEEP,), wire=stop_clock),
        "sleep_loses_clock": Defect(
            "deep sleep sets the real-time clock back", (_SLEEP,), wire=after(Reset.DEEP_SLEEP, set_back)
        ),
        "reset_loses_rtc": Defect(
            "machine.reset() clears RTC memory", ("deep_sleep: machine reset*",), wire=after(Reset.MACHINE, lose_rtc)
        ),
        "light_sleep_short": Defect(
            "light sleep is 20 % short",
            ("deep_sleep: light sleep*",),
            wire=argument(Service.LIGHT_SLEEP, lambda ms: int(ms * 0.8)),
        ),
        "light_sleep_long": Defect(
            "light sleep is 50 % long",
            ("deep_sleep: light sleep*",),
            wire=argument(Service.LIGHT_SLEEP, lambda ms: int(ms * 1.5)),
        ),
        "rtc_memory_small": Defect(
            "RTC memory refuses more than 256 bytes",
            ("deep_sleep: *rtc memory*", _SLEEP),
            wire=service(Service.RTC_LENGTH, limit_rtc),
            families=("esp32", "esp8266"),
        ),
        "rtc_memory_unchecked": Defect(
            "RTC memory takes more than it holds",
            ("deep_sleep: *rtc memory*",),
            wire=service(Service.RTC_LENGTH, any_length),
            families=("esp32", "esp8266"),
        ),
        "rtc_memory_takes_numbers": Defect(
            "RTC memory takes a number",
            ("deep_sleep: *rtc memory*",),
            guest=(
                "machine",
                "            size = len(data)\n",
                "            size = len(bytes(data))\n            data = bytes(data)\n",
            ),
            families=("esp32", "esp8266"),
        ),
        # interrupt
        "drops_10th_edge": Defect("every tenth edge is dropped", (_EDGES,), wire=drop(10)),
        "drops_every_2nd_edge": Defect("every second edge is dropped", (_EDGES,), wire=drop(2)),
        "doubles_7th_edge": Defect("every seventh edge is handled twice", (_EDGES,), wire=double(7)),
        "last_in_first_out": Defect(
            "the last callback scheduled runs first", ("interrupt: the queue*",), wire=soft(last_first)
        ),
        "callbacks_swapped": Defect(
            "a callback goes before the one that was scheduled last", (_TOGETHER,), wire=soft(before_the_last)
        ),
        "queue_one_short": Defect(
            "the queue holds one entry less", ("interrupt: the queue*", _EDGES), wire=shallow(-1)
        ),
        "queue_full_silent": Defect(
            "micropython.schedule() does not say that the queue is full",
            ("interrupt: the queue*",),
            wire=service(Service.SCHEDULE, lambda _app, original: lambda a, b, c: (original(a, b, c) and 1) or 1),
        ),
        "queue_full_text": Defect(
            "the error of a full queue has no text",
            ("interrupt: the queue*",),
            guest=("_board", 'RuntimeError("schedule queue full")', "RuntimeError()"),
        ),
        "edges_swapped": Defect(
            "rising and falling edges are swapped", (_EDGES,), wire=service(Service.PIN_IRQ, swap_edges)
        ),
        "burst_disables_pin": Defect(
            "a pin whose interrupt was lost gives none any more", (_EDGES,), wire=soft(give_up)
        ),
        "level_wrong_in_handler": Defect(
            "a pin reads inverted inside a handler", (_EDGES,), wire=service(Service.PIN_VALUE, lie_in_callbacks)
        ),
        "soft_cannot_allocate": Defect("soft handlers run with the heap locked", (_EDGES,), wire=deliver(always_hard)),
        "hard_can_allocate": Defect(
            "hard handlers run as soft ones, with the heap unlocked",
            ("interrupt: a hard handler*",),
            wire=deliver(never_hard),
            families=("stm32",),
        ),
        "disable_irq_ignored": Defect(
            "machine.disable_irq() holds nothing off",
            ("interrupt: disable irq*",),
            wire=service(Service.LOCK, lambda _app, _original: lambda a, b, c: 0),
        ),
        "append_takes_turns": _miscompiled(
            "a callback can run in the middle of list.append",
            "interrupt: single operations*",
            "    items.append(n)\n",
            "    kept = items[:]\n    for _ in range(400):\n        pass\n    items[:] = kept + [n]\n",
        ),
        "latency_spikes": Defect(
            "every twentieth timer callback is 30 ms late", (_LATENCY,), wire=late("timer", 20, 30)
        ),
        "timer_2_percent_slow": Defect("timers are 2 % slow", (_LATENCY,), wire=timer_scale(1.02)),
        "timer_thinned": Defect("fast timers lose every third tick", ("interrupt: rate", _LATENCY), wire=deliver(thin)),
        "pin_25_ms_late": Defect("a pin's handler runs 25 ms late", ("interrupt: *", _EDGES), wire=late("pin", 1, 25)),
        "ctrl_c_lost_in_sleep": Defect(
            "Ctrl-C is lost while a program sleeps", ("interrupt: ctrl c*sleep*",), wire=deaf_in_sleep
        ),
        "ctrl_c_deaf": Defect("Ctrl-C ends no program", ("interrupt: ctrl c[[]*",), wire=deaf),
        "ctrl_c_lost_in_poll": Defect(
            "Ctrl-C is lost in select.poll", ("interrupt: ctrl c in a wait*poll*",), wire=deaf_in_poll
        ),
        "wait_never_sleeps": Defect(
            "the port's wait for events returns at once",
            (
                "interrupt: the poller sleeps*timer*",
                "interrupt: the poller sleeps*pin*",
                "interrupt: an asyncio task sle*",
            ),
            wire=service(Service.WAIT, lambda _app, _original: lambda _ms, _flag, _c: 0),
        ),
        "poll_looks_each_40_ms": Defect(
            "select.poll looks at its streams each 40 ms only",
            ("interrupt: the poller sleeps*stream*", "interrupt: the poller sleeps until a datagram*"),
            wire=rare_looks,
        ),
        "paste_loses_a_byte": Defect(
            "raw paste loses a byte at the second window",
            ("interrupt: a program at the windows edge*",),
            wire=paste_loses,
        ),
        "paste_short_at_edge": Defect(
            "a program that ends with a window of raw paste loses its last byte",
            ("interrupt: a program at the windows edge*",),
            wire=short_at_the_edge,
        ),
        "timer_3_in_1000_slow": Defect(
            "timers are 0.3 % slow", ("interrupt: a timers period*",), wire=timer_scale(1.003)
        ),
        **UART_DEFECTS,
    }
    | FLASH_DEFECTS
    | CIRCUITPYTHON_DEFECTS
)
