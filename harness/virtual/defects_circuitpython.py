"""Seeded defects of the CircuitPython firmware: its supervisor answers wrongly, keeps too little or too much."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from harness.chips import Reset
from harness.reference.supervisor_state import NextCode, RunReason, SupervisorState
from harness.virtual.defect import Defect
from harness.virtual.defect_effects import deaf_in_sleep, leak

if TYPE_CHECKING:
    from harness.virtual.circuitpython_board import CircuitPythonApplication
    from harness.virtual.cpu import WasmApplication

Wire = Callable[["WasmApplication"], None]
Change = Callable[[SupervisorState], None]


def _state(change: Change) -> Wire:
    """Something is done to the supervisor's state at each start of the VM."""
    return lambda app: change(cast("CircuitPythonApplication", app).state)


def _once_after(cause: Reset, change: Change) -> Wire:
    """The same at the first start after a reset of that kind."""

    def wire(app: WasmApplication) -> None:
        if app.board.cause is Reset.SOFT and "started" not in app.marks:
            app.marks.add("started")
            state = cast("CircuitPythonApplication", app).state
            if state.cause is cause:
                change(state)

    return wire


def _answer(verb: str, around: Callable[..., Any]) -> Wire:
    """A request is answered by ``around``, which gets the right answer's function and the request's numbers."""

    def wire(app: WasmApplication) -> None:
        if verb not in app.marks:
            app.marks.add(verb)
            answers = cast("CircuitPythonApplication", app).state.answers
            original = answers[verb]
            answers[verb] = lambda *numbers: around(original, *numbers)

    return wire


def _drop_persisted(state: SupervisorState) -> None:
    state.region.free(state.persisted)
    state.persisted = None


def _cut_persisted(length: Callable[[], int]) -> int:
    return max(length() - 1, min(length(), 0))


def _outlive(app: WasmApplication) -> None:
    """The persisted bytes stand in RAM that no reset of the chip clears."""
    state = cast("CircuitPythonApplication", app).state
    if "outlive" in app.marks:
        return
    app.marks.add("outlive")
    length, read = state.answers["length"], state.answers["read"]

    def keep() -> str | int | None:
        if state.persisted is not None:
            app.noinit["persisted"] = state.persisted.read()
        return length() if "persisted" not in app.noinit else int.from_bytes(app.noinit["persisted"][:4], "little")

    def give(address: int) -> str | int | None:
        if state.persisted is not None:
            return read(address)
        data = app.noinit["persisted"]
        app.vm.machine.memory.write(address, data[4 : 4 + int.from_bytes(data[:4], "little")])
        return None

    state.answers["length"], state.answers["read"] = keep, give


def _clear_sleep_memory(state: SupervisorState) -> None:
    state.sleep_memory = bytes(len(state.sleep_memory))


def _flip_sleep_memory(state: SupervisorState) -> None:
    state.sleep_memory = state.sleep_memory[:-1] + bytes([state.sleep_memory[-1] ^ 0x10])


def _no_holes(state: SupervisorState) -> None:
    state.region._find_hole = lambda high, length: 0  # type: ignore[method-assign]


def _started_anew(state: SupervisorState) -> None:
    state.reason = RunReason.STARTUP


def _stop_there(state: SupervisorState) -> None:
    state._options &= ~(NextCode.RELOAD_ON_SUCCESS | NextCode.RELOAD_ON_ERROR)


def _erase_nvm(state: SupervisorState) -> None:
    state.nvm[:16] = b"\xff" * 16


_PERSISTED = "reload: persisted bytes survive*"
_WOKE = "deep_sleep: sleeps until*"

CIRCUITPYTHON_DEFECTS: dict[str, Defect] = {
    name: Defect(sentence, caught, wire=wire, runtime="circuitpython")
    for name, sentence, caught, wire in (
        ("cp_persisted_lost", "a reload drops persisted_bytes", (_PERSISTED,), _state(_drop_persisted)),
        (
            "cp_persisted_short",
            "persisted_bytes comes back one byte short",
            (_PERSISTED,),
            _answer("length", _cut_persisted),
        ),
        (
            "cp_persisted_outlives",
            "persisted_bytes outlives the chip's reset",
            ("reload: persisted bytes do not outlive*", _PERSISTED),
            _outlive,
        ),
        ("cp_holes_unused", "no hole is used again", ("reload: movable allocations*",), _state(_no_holes)),
        ("cp_reason_startup", "every run looks like the first", ("reload: the run reason*",), _state(_started_anew)),
        (
            "cp_next_code_stops",
            "reload_on_success and reload_on_error are ignored",
            ("reload: the next code file*",),
            _state(_stop_there),
        ),
        (
            "cp_safe_mode_ignored",
            "on_next_reset(SAFE_MODE) does nothing",
            ("reload: safe mode*",),
            _answer("next_mode_safe", lambda _original: None),
        ),
        (
            "cp_sleep_memory_lost",
            "deep sleep clears the sleep memory",
            (_WOKE,),
            _once_after(Reset.DEEP_SLEEP, _clear_sleep_memory),
        ),
        (
            "cp_sleep_memory_flip",
            "deep sleep flips a bit of the sleep memory's last byte",
            (_WOKE,),
            _once_after(Reset.DEEP_SLEEP, _flip_sleep_memory),
        ),
        ("cp_wake_alarm_lost", "wake_alarm stays None", (_WOKE,), _answer("woken", lambda _original: "")),
        (
            "cp_wakes_early",
            "a time alarm ends a deep sleep 200 ms early",
            (_WOKE,),
            _answer("sleep", lambda original, at_ms: original(at_ms - 200)),
        ),
        (
            "cp_reset_reason",
            "every reset looks like a power-on",
            (_WOKE, "deep_sleep: microcontroller reset*"),
            _answer("reset_reason", lambda _original: "POWER_ON"),
        ),
        (
            "cp_nvm_lost",
            "microcontroller.reset() erases nvm",
            ("deep_sleep: nvm survives*",),
            _once_after(Reset.MACHINE, _erase_nvm),
        ),
        (
            "cp_light_sleep_short",
            "light sleep ends 30 ms early",
            ("deep_sleep: circuitpython light sleep*",),
            _answer("light", lambda original, at_ms: original(at_ms - 30)),
        ),
        (
            "cp_counter_drops",
            "a counter misses every tenth edge",
            ("interrupt: a counter*",),
            _answer("count", lambda original, key: original(key) - original(key) // 10),
        ),
        (
            "cp_ctrl_c_lost",
            "Ctrl-C is lost while a code file sleeps",
            ("interrupt: ctrl c in a code file*",),
            deaf_in_sleep,
        ),
    )
}
CIRCUITPYTHON_DEFECTS["cp_leak64"] = Defect(
    "each restart of the VM leaves 64 bytes less heap",
    ("reload: circuitpython reloads*",),
    leak(64),
    runtime="circuitpython",
)
