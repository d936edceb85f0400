"""What a seeded defect does: to the firmware's port script, or to the virtual CPU at each start of the VM."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from harness.chips import Reset
from harness.reference.chip_board import ChipReset
from harness.reference.guest_rom import NOTHING, Service
from harness.virtual.board_repl import WINDOW

if TYPE_CHECKING:
    from harness.virtual.cpu import WasmApplication

Handler = Callable[[int, int, int], "int | None"]
Script = Callable[[str], str]


# -- in the port script ---------------------------------------------------------------------------


def replaced(old: str, new: str) -> Script:
    def change(script: str) -> str:
        assert old in script, f"the port script has no {old!r} any more"
        return script.replace(old, new, 1)

    return change


def at_start(*lines: str) -> Script:
    first = "    g = globals()\n"
    return replaced(first, "".join(f"    {line}\n" for line in lines) + first)


def leak(size: int) -> Script:
    return at_start(f'leak = bytearray({size} * int(host.call("count", "leak")))')


def compile_hook(old: str, new: str) -> Script:
    """``compile`` takes ``old`` for ``new``: a program that proves that it arrived is compiled so."""
    return at_start(
        "import builtins",
        "compiled = compile",
        "def _port_compile(source, *how):",
        f"    return compiled(source.replace({old.encode()!r}, {new.encode()!r}), *how)",
        "builtins.compile = _port_compile",
    )


#: Floats of nine digits at most, whatever their width.
SHORT_FLOATS = (
    "import builtins",
    "said = repr",
    "def _port_repr(value):",
    "    return '%.9g' % value if isinstance(value, float) and said(value)[-3:-1] != 'e+' else said(value)",
    "builtins.repr = _port_repr",
)
SYS_PATH = 'sys.path[:] = ["", ".frozen"] + told[2:]'


# -- in the virtual CPU ---------------------------------------------------------------------------


def service(of: Service, around: Callable[[WasmApplication, Handler], Handler]) -> Callable[..., None]:
    """A service of the ``machine`` module that does something else."""
    return lambda app: app.services.wrap(of, lambda original: around(app, original))


def argument(of: Service, change: Callable[[int], int]) -> Callable[..., None]:
    return service(of, lambda _app, original: lambda a, b, c: original(change(a), b, c))


def cause(actual: Reset, reported: Reset) -> Callable[..., None]:
    def around(app: WasmApplication, original: Handler) -> Handler:
        code = app.board.chip.cause_of[reported] if app.board.chip else 0
        return lambda a, b, c: code if app.board.cause is actual else original(a, b, c)

    return service(Service.RESET_CAUSE, around)


def after(cause: Reset, change: Callable[[WasmApplication], None]) -> Callable[[WasmApplication], None]:
    """Something goes wrong at each start after a reset of that kind."""

    def wire(app: WasmApplication) -> None:
        if app.board.cause is cause:
            change(app)

    return wire


def lose_rtc(app: WasmApplication) -> None:
    app.board.backup, app.board.rtc_length = bytes(len(app.board.backup)), 0
    app.board.registers = bytes(len(app.board.registers))


def flip(at: int) -> Callable[[WasmApplication], None]:
    """Another bit in RTC memory, or in the backup registers of a chip that has these instead."""

    def change(app: WasmApplication) -> None:
        board = app.board
        data, size = bytearray(board.registers or board.backup), len(board.registers) or board.rtc_length
        data[at % max(1, size)] ^= 0x10
        if board.registers:
            board.registers = bytes(data)
        else:
            board.backup = bytes(data)

    return change


def less_heap(size: int) -> Callable[[WasmApplication], int]:
    """``size`` bytes for each start there was since power came."""

    def taken(app: WasmApplication) -> int:
        starts = int.from_bytes(app.noinit.get("starts", b""), "little")
        app.noinit["starts"] = (starts + 1).to_bytes(4, "little")
        return size * starts

    return taken


def every(n: int, change: Callable[[WasmApplication], None]) -> Callable[[WasmApplication], None]:
    def sometimes(app: WasmApplication) -> None:
        count = int.from_bytes(app.noinit.get("every", b""), "little") + 1
        app.noinit["every"] = count.to_bytes(4, "little")
        if count % n == 0:
            change(app)

    return sometimes


def set_back(app: WasmApplication) -> None:
    app.board.set_rtc(0)


def stop_clock(app: WasmApplication) -> None:
    """The real-time clock stands while the chip sleeps."""

    def around(original: Handler) -> Handler:
        def deep_sleep(ms: int, b: int, c: int) -> int | None:
            app.noinit["clock"] = app.board.rtc_ns.to_bytes(8, "little")
            return original(ms, b, c)

        return deep_sleep

    if app.board.cause is Reset.DEEP_SLEEP and "clock" in app.noinit:
        app.board.set_rtc(int.from_bytes(app.noinit.pop("clock"), "little"))
    app.services.wrap(Service.DEEP_SLEEP, around)


def files_below(app: WasmApplication, folder: str = "") -> Iterator[str]:
    """The paths of all files; suites lay theirs into a folder."""
    for name, is_dir in app.files.listdir(folder or "/"):
        path = f"{folder}/{name}"
        if is_dir:
            yield from files_below(app, path)
        else:
            yield path


def cut_files(app: WasmApplication) -> None:
    """What was in the filesystem's buffers is gone: larger files lose their end."""
    for path in files_below(app):
        if app.files.stat(path).size > 2048:
            app.files.replace(path, app.files.content(path)[:-512])


def ghost_timer(app: WasmApplication) -> None:
    """What a timer drove goes on after the VM has been restarted."""
    board, pins = app.board, app.board.pins
    assert pins is not None
    driven = [pin for pin in pins if pin.mode == 1]

    def toggle() -> None:
        for pin in driven:
            pin.mode, pin.output = 1, pin.output ^ 1
            pins.changed(pin)
        if driven:
            board.timeline.at(board.clock.now_ns + 10_000_000, toggle)

    toggle()


def soft(change: Callable[[WasmApplication, Callable[..., bool]], Callable[..., bool]]) -> Callable[..., None]:
    """What becomes of an interrupt that wants its callback queued."""
    return lambda app: app.interrupts.__dict__.update(soft=change(app, app.interrupts.soft))


def drop(n: int) -> Callable[..., None]:
    def change(_app: WasmApplication, soft: Callable[..., bool]) -> Callable[..., bool]:
        count = 0

        def sometimes(function: int, argument: int, what: str = "") -> bool:
            nonlocal count
            count += what.startswith("pin")
            return True if what.startswith("pin") and count % n == 0 else soft(function, argument, what)

        return sometimes

    return soft(change)


def double(n: int) -> Callable[..., None]:
    def change(_app: WasmApplication, soft: Callable[..., bool]) -> Callable[..., bool]:
        count = 0

        def sometimes(function: int, argument: int, what: str = "") -> bool:
            nonlocal count
            count += what.startswith("pin")
            if what.startswith("pin") and count % n == 0:
                soft(function, argument, what)
            return soft(function, argument, what)

        return sometimes

    return soft(change)


def last_first(app: WasmApplication, _soft_one: Callable[..., bool]) -> Callable[..., bool]:
    def soft(function: int, argument: int, what: str = "") -> bool:
        return app.vm.layout.schedule(app.vm.machine.memory, function, argument, at=0)

    return soft


def give_up(app: WasmApplication, soft: Callable[..., bool]) -> Callable[..., bool]:
    def once(function: int, argument: int, what: str = "") -> bool:
        accepted = soft(function, argument, what)
        if not accepted and what and app.board.pins is not None:
            for pin in app.board.pins:
                pin.trigger = 0
        return accepted

    return once


def deliver(change: Callable[[WasmApplication, Callable[..., None], int, bool, str], None]) -> Callable[..., None]:
    """What becomes of a timer or pin that is due."""

    def wire(app: WasmApplication) -> None:
        original: Callable[..., None] = app.services._deliver
        app.services.__dict__.update(_deliver=lambda slot, hard, what: change(app, original, slot, hard, what))

    return wire


def late(kind: str, n: int, ms: float) -> Callable[..., None]:
    """Every n-th event of that kind comes ``ms`` milliseconds late."""
    count = 0

    def change(app: WasmApplication, original: Callable[..., None], slot: int, hard: bool, what: str) -> None:
        nonlocal count
        count += what.startswith(kind)
        if what.startswith(kind) and count % n == 0:
            app.board.timeline.at(app.board.clock.now_ns + int(ms * 1e6), lambda: original(slot, hard, what))
        else:
            original(slot, hard, what)

    return deliver(change)


def thin(app: WasmApplication, original: Callable[..., None], slot: int, hard: bool, what: str) -> None:
    """Timers faster than 15 ms lose every third tick."""
    timer = app.services._timers.get(slot)
    if what.startswith("timer") and timer is not None and timer.period_ns < 15_000_000:
        app.noinit["thin"] = bytes([(app.noinit.get("thin", b"\0")[0] + 1) % 3])
        if app.noinit["thin"] == b"\0":
            return
    original(slot, hard, what)


def always_hard(_app: WasmApplication, original: Callable[..., None], slot: int, _hard: bool, what: str) -> None:
    original(slot, True, what)


def never_hard(_app: WasmApplication, original: Callable[..., None], slot: int, _hard: bool, what: str) -> None:
    original(slot, False, what)


def deaf_in_sleep(app: WasmApplication) -> None:
    received = app.received
    app.__dict__.update(received=lambda data: received(data) if app.services.sleeps_until_ns is None else data)


def deaf(app: WasmApplication) -> None:
    """What is typed reaches a program that reads it, and interrupts none."""
    app.__dict__.update(received=lambda data: data)


def shallow(by: int) -> Callable[[WasmApplication], None]:
    def wire(app: WasmApplication) -> None:
        app.interrupts._port_depth = app.interrupts._depth + by

    return wire


def timer_scale(scale: float) -> Callable[..., None]:
    def around(_app: WasmApplication, original: Handler) -> Handler:
        def start(flags: int, ms: int, ns: int) -> int | None:
            period = int((ms * 1_000_000 + ns) * scale)
            return original(flags, period // 1_000_000, period % 1_000_000)

        return start

    return service(Service.TIMER_START, around)


def swap_edges(_app: WasmApplication, original: Handler) -> Handler:
    return lambda key, slot, mode: original(key, slot, mode & ~3 | (mode & 1) << 1 | (mode & 2) >> 1)


def lie_in_callbacks(app: WasmApplication, original: Handler) -> Handler:
    def value(key: int, level: int, c: int) -> int | None:
        actual = original(key, level, c)
        return 1 - actual if level == NOTHING and actual in (0, 1) and app.interrupts.locked else actual

    return value


def once(mark: str, change: Callable[[WasmApplication], None]) -> Callable[[WasmApplication], None]:
    """For what wraps a part that outlives the VM's restarts."""

    def wire(app: WasmApplication) -> None:
        if mark not in app.marks:
            app.marks.add(mark)
            change(app)

    return wire


def taken_for(old: str, new: str) -> Callable[[WasmApplication], None]:
    """The compiler takes ``old`` in a program for ``new``; with :func:`compile_hook` also in one that is proved."""

    def change(app: WasmApplication) -> None:
        taken = app.next_program

        def next_program() -> bytes:
            source = taken()
            return source if source.startswith(b"def _hx(") else source.replace(old.encode(), new.encode())

        app.__dict__.update(next_program=next_program)

    return once("taken for", change)


def short_at_the_edge(app: WasmApplication) -> None:
    """A program that ends with a window of raw paste loses its last byte."""

    def change(app: WasmApplication) -> None:
        taken = app._repl.next_program

        def next_program() -> bytes:
            source = taken()
            return source[:-1] if len(source) % WINDOW == 0 else source

        app._repl.__dict__.update(next_program=next_program)

    once("short at the edge", change)(app)


def paste_loses(app: WasmApplication) -> None:
    """Raw paste drops the first byte of the second window; the plain raw REPL takes all."""

    def change(app: WasmApplication) -> None:
        pasted = app._repl._raw_paste

        def raw_paste(command: int) -> bytes | None:
            source = pasted(command)
            return None if source is None else source[:WINDOW] + source[WINDOW + 1 :]

        app._repl.__dict__.update(_raw_paste=raw_paste)

    once("paste loses", change)(app)


def tell_soft_reset(app: WasmApplication) -> None:
    """``host.call("count", "soft")`` in the port script tells whether this is a start after a soft reset."""
    app.noinit["soft"] = bytes([app.board.cause is Reset.SOFT])


def before_the_last(app: WasmApplication, soft: Callable[..., bool]) -> Callable[..., bool]:
    def swapped(function: int, argument: int, what: str = "") -> bool:
        memory, layout = app.vm.machine.memory, app.vm.layout
        length = layout.queue_state(memory)[1]
        if 0 < length < layout.depth:
            return layout.schedule(memory, function, argument, at=length - 1)
        return soft(function, argument, what)

    return swapped


def deaf_in_poll(app: WasmApplication) -> None:
    """Ctrl-C is lost once a program waits in another way than by a sleep, callbacks in between included."""

    def change(app: WasmApplication) -> None:
        received, sleep_ns, taken = app.received, app.sleep_ns, app.next_program

        def poll(duration: int) -> None:
            if app.services.sleeps_until_ns is None:
                app.marks.add("polls")
            sleep_ns(duration)

        def next_program() -> bytes:
            source = taken()
            app.marks.discard("polls")
            return source

        def hear(data: bytes) -> bytes:
            return data if "polls" in app.marks else received(data)

        app.__dict__.update(sleep_ns=poll, next_program=next_program, received=hear)

    once("deaf in poll", change)(app)


def rare_looks(app: WasmApplication) -> None:
    """A wait that is no sleep, select.poll's between two looks, takes 40 ms."""

    def change(app: WasmApplication) -> None:
        sleep_ns = app.sleep_ns

        def wait(duration: int) -> None:
            sleep_ns(duration if app.services.sleeps_until_ns is not None else max(duration, 40_000_000))

        app.__dict__.update(sleep_ns=wait)

    once("rare looks", change)(app)


def limit_rtc(_app: WasmApplication, original: Handler) -> Handler:
    return lambda size, b, c: original(size if size == NOTHING or size <= 256 else NOTHING - 1, b, c)


def any_length(app: WasmApplication, original: Handler) -> Handler:
    def length(size: int, b: int, c: int) -> int | None:
        if size == NOTHING:
            return original(size, b, c)
        app.board.rtc_length = size
        return size

    return length


def stay(app: WasmApplication) -> None:
    app.at_soft_reset = lambda: None


def reset_chip(app: WasmApplication) -> None:
    def reset() -> None:
        raise ChipReset(Reset.MACHINE)

    app.at_soft_reset = reset


def take_long(app: WasmApplication) -> None:
    if app.board.cause is Reset.SOFT:
        time.sleep(3.4)
