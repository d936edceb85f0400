"""The mutations, each with the one scenario or test that is to catch it."""

from __future__ import annotations

from harness.chips import Reset
from harness.reference.supervisor_state import RESET_REASONS
from tests.mutations.applying import Mutation

_REGION = "harness.reference.supervisor:Region"
_STATE = "harness.reference.supervisor_state:SupervisorState"
_VM = "harness.reference.supervised:SupervisedVm"
_FLASH = "harness.reference.flash.flash_region:Region"
_LUA = "harness.reference.nodemcu.lua_heap:LuaHeap"
_NODE = "harness.reference.nodemcu.nodemcu_machine:NodeMcu"
_GPIO = "harness.reference.nodemcu.hardware:Gpio"
_TIMERS = "harness.reference.nodemcu.hardware:Timers"
_IRQ = "harness.reference.interrupts:Interrupts"
_SERVICES = "harness.reference.machine_services:Services"
_TIME = "harness.reference.timeline"
_BOARD = "harness.reference.chip_board:Board"

_CP_RELOAD = "suites/reload/test_circuitpython_reload.py::"
_CP_SLEEP = "suites/deep_sleep/test_circuitpython_sleep.py::"
_CP_IRQ = "suites/interrupt/test_circuitpython_interrupts.py::"
_SLEEP = "suites/deep_sleep/test_deep_sleep.py::"
_CALLS = "suites/interrupt/test_callbacks.py::"
_WAITS = "suites/interrupt/test_waits.py::"
_OBJECTS = "suites/calibration/test_nodemcu_objects.py::test_lua_objects_take_what_their_structures_say"
_LFS = "suites/flash_execution/test_nodemcu_lfs.py::"
_EVENTS = "suites/interrupt/test_nodemcu_events.py::"
_LUA_SLEEP = "suites/deep_sleep/test_nodemcu_sleep.py::"
_LUA_RELOAD = "suites/reload/test_nodemcu_reload.py::"
_T_REGION = "tests/reference/test_supervisor.py::"
_T_LUA = "tests/reference/test_lua_heap.py::"
_T_FLASH = "tests/reference/test_region.py::"

_PERSISTED = f"{_CP_RELOAD}test_persisted_bytes_survive_a_reload"
_REFUSED = f"{_CP_RELOAD}test_persisted_bytes_do_not_outlive_the_chips_reset"
_MOVED = f"{_CP_RELOAD}test_movable_allocations_move_down_and_their_holes_are_used_again"
_WOKEN = f"{_CP_SLEEP}test_sleeps_until_its_time_alarm_and_tells_what_woke_it[100]"
_SLEPT = f"{_SLEEP}test_sleeps_as_long_as_it_says_and_wakes_by_its_timer[500]@esp32"

_ROUNDED = "length = (length + 3) & ~3"

SUPERVISOR = (
    (
        "waste_256",
        "256 bytes more for each allocation",
        f"{_REGION}.allocate",
        _ROUNDED,
        "length = ((length + 3) & ~3) + 256",
        f"{_PERSISTED}[16]",
    ),
    (
        "not_rounded",
        "lengths are not rounded up to words",
        f"{_REGION}.allocate",
        _ROUNDED,
        "pass",
        f"{_T_REGION}test_lengths_are_rounded_up_to_words",
    ),
    (
        "node_of_3_words",
        "a word lies unused behind each node",
        f"{_REGION}._push",
        "at, below = middle.start, self._low_head",
        "at, below = middle.start + 4, self._low_head",
        f"{_T_REGION}test_the_heap_is_exactly_what_is_left",
    ),
    (
        "no_move_callback",
        "clients are not told that the memory has moved",
        f"{_REGION}.end_run",
        "callback()\n",
        "pass\n",
        f"{_T_REGION}test_a_callback_maps_old_pointers_to_new_ones",
    ),
    (
        "new_pointers_in_callback",
        "in a move callback old pointers are not known",
        f"{_REGION}.allocation_from_ptr",
        "(self._handles if self._old is None else self._old)",
        "self._handles",
        f"{_T_REGION}test_a_callback_maps_old_pointers_to_new_ones",
    ),
    (
        "moved_in_reverse",
        "allocations of the heap are moved from the highest down",
        f"{_REGION}.end_run",
        "sorted(self.embedded())",
        "sorted(self.embedded(), reverse=True)",
        f"{_T_REGION}test_the_order_in_the_heap_is_the_order_after_the_move",
    ),
    (
        "contents_lost",
        "what was allocated in the heap is zeros after the move",
        f"{_REGION}.end_run",
        "data = heap.read(at + NODE, node.length)",
        "data = bytes(node.length)",
        f"{_PERSISTED}[16]",
    ),
    (
        "not_compacted",
        "movable allocations stay above the holes",
        f"{_REGION}.end_run",
        "self._compact()",
        "pass",
        f"{_T_REGION}test_movable_ones_go_below_the_holes_so_that_the_next_heap_is_largest",
    ),
    (
        "holes_stay",
        "a hole at the top is not given back",
        f"{_REGION}._absorb_holes",
        "if not node.hole",
        "if True",
        f"{_PERSISTED}[4096]",
    ),
    (
        "hole_not_exact",
        "a hole that is larger is taken, too",
        f"{_REGION}._find_hole",
        "node.word == length | HOLE",
        "node.hole and node.length >= length",
        f"{_T_REGION}test_a_hole_is_reused_only_when_it_fits_exactly",
    ),
    ("holes_unused", "no hole is used again", f"{_REGION}._find_hole", "node.word == length | HOLE", "False", _MOVED),
    (
        "kept_after_none",
        "None does not drop what was kept",
        f"{_STATE}._on_drop",
        "self.region.free(self.persisted)\n",
        "return\n",
        f"{_PERSISTED}[16]",
    ),
    (
        "freed_and_taken",
        "None drops the value and not its memory",
        f"{_STATE}._on_drop",
        "self.region.free(self.persisted)",
        "pass",
        f"{_PERSISTED}[4096]",
    ),
    (
        "text_taken",
        "text is taken as its bytes",
        "guest:_supervisor",
        'raise TypeError("persisted_bytes must be bytes-like or None, not str")',
        "data = data.encode()",
        _REFUSED,
    ),
    (
        "numbers_taken",
        "a number is taken as so many zeros",
        "guest:_supervisor",
        "data = bytes(memoryview(data))",
        "data = bytes(data)",
        _REFUSED,
    ),
    (
        "length_not_kept",
        "a length is a multiple of 4",
        f"{_STATE}._on_persist",
        "size.to_bytes(4,",
        "(-(-size // 4) * 4).to_bytes(4,",
        f"{_PERSISTED}[17]",
    ),
    (
        "persisted_over_a_reset",
        "a reset of the chip keeps the region",
        f"{_VM}._renew",
        "self.state.region.on_move = old.region.on_move",
        "self.state.region, self.state.persisted = old.region, old.persisted",
        _REFUSED,
    ),
    (
        "code_files_swapped",
        "main.py is found before code.py",
        "harness.reference.supervisor_state:CODE_FILES",
        "",
        ("code.txt", "main.py", "code.py", "main.txt"),
        f"{_CP_RELOAD}test_of_several_code_files_the_first_of_the_order_runs",
    ),
    (
        "code_txt_unknown",
        "code.txt is not looked for",
        "harness.reference.supervisor_state:CODE_FILES",
        "",
        ("code.py", "main.py", "main.txt"),
        f"{_CP_RELOAD}test_of_several_code_files_the_first_of_the_order_runs",
    ),
    (
        "next_code_for_ever",
        "the next code file is never forgotten",
        f"{_STATE}.settle",
        "self._forget()",
        "pass",
        f"{_CP_RELOAD}test_the_next_code_file_keeps_to_its_options[once]",
    ),
    (
        "never_sticky",
        "the options that keep it are ignored",
        f"{_STATE}.end_code",
        "self._situation |= NextCode.STICKY_ON_SUCCESS",
        "pass",
        f"{_CP_RELOAD}test_the_next_code_file_keeps_to_its_options[sticky]",
    ),
    (
        "reason_of_reload",
        "Ctrl-D is told as supervisor.reload()",
        f"{_VM}.reload",
        "RunReason.REPL_RELOAD",
        "RunReason.SUPERVISOR_RELOAD",
        f"{_CP_RELOAD}test_the_run_reason_tells_how_code_was_started",
    ),
)

SLEEP = (
    (
        "sleep_memory_short",
        "the sleep memory has half its size",
        f"{_STATE}._on_sleep_memory",
        "len(self.sleep_memory)",
        "len(self.sleep_memory) // 2",
        f"{_CP_SLEEP}test_sleep_memory_has_an_end_and_keeps_what_it_refuses",
    ),
    (
        "sleep_memory_lost",
        "deep sleep clears the sleep memory",
        f"{_VM}._renew",
        "Reset.BROWN_OUT)",
        "Reset.BROWN_OUT, Reset.DEEP_SLEEP)",
        _WOKEN,
    ),
    (
        "ram_over_sleep",
        "deep sleep keeps the region",
        f"{_VM}._renew",
        "self.state.region.on_move = old.region.on_move",
        "if cause is Reset.DEEP_SLEEP: self.state.region, self.state.persisted = old.region, old.persisted",
        _WOKEN,
    ),
    (
        "wake_alarm_wrong",
        "a time alarm is told as a pin's",
        f"{_STATE}._wake_words",
        'return "time 0"',
        'return "pin 33"',
        _WOKEN,
    ),
    (
        "reset_reason_wrong",
        "a wake is told as power-on",
        "harness.reference.supervisor_state:RESET_REASONS",
        "",
        RESET_REASONS | {Reset.DEEP_SLEEP: "POWER_ON"},
        _WOKEN,
    ),
    (
        "nvm_lost",
        "a reset erases microcontroller.nvm",
        f"{_VM}._renew",
        "nvm=old.nvm",
        "nvm=None",
        f"{_CP_SLEEP}test_nvm_survives_reload_and_reset",
    ),
    (
        "cause_wrong",
        "every start is told as power-on",
        f"{_BOARD}.restart",
        "self.cause = cause",
        "self.cause = Reset.POWER_ON",
        _SLEPT,
    ),
    (
        "wake_reason_wrong",
        "the timer is told as EXT0",
        f"{_BOARD}.sleep_through",
        "self._wake(WAKE_TIMER)",
        "self._wake(WAKE_EXT0)",
        _SLEPT,
    ),
    (
        "rtc_memory_lost",
        "deep sleep clears RTC memory",
        f"{_BOARD}.restart",
        "cause in self.chip.lost_at",
        "cause is not Reset.SOFT",
        _SLEPT,
    ),
    (
        "rtc_memory_kept",
        "RTC memory outlives the loss of power",
        f"{_BOARD}.restart",
        "cause in self.chip.lost_at",
        "False",
        f"{_SLEEP}test_a_power_cut_ends_a_sleep_and_loses_what_it_should@stm32f405",
    ),
    (
        "rtc_stops",
        "the real-time clock stands still in deep sleep",
        f"{_BOARD}.sleep_through",
        "self.restart(Reset.DEEP_SLEEP)",
        "self._rtc_zero_ns = 0\n    self.restart(Reset.DEEP_SLEEP)",
        _SLEPT,
    ),
    (
        "lua_reason_wrong",
        "a wake is told as the reset input",
        f"{_NODE}._host",
        '"bootreason": lambda: _REASONS[self.board.cause]',
        '"bootreason": lambda: (2, 6)',
        f"{_LUA_SLEEP}test_dsleep_lasts_as_long_as_it_says[200]",
    ),
    (
        "lua_sleeps_short",
        "node.dsleep takes a fifth off",
        f"{_NODE}._deep_sleep",
        "int(microseconds) * 1000",
        "int(microseconds) * 800",
        f"{_LUA_SLEEP}test_dsleep_lasts_as_long_as_it_says[1500]",
    ),
    (
        "rtcmem_short",
        "the last word of rtcmem is not kept",
        "harness.reference.nodemcu.hardware:rtc_functions",
        "board.backup = bytes(content)",
        "board.backup = bytes(content[:-4])",
        f"{_LUA_RELOAD}test_rtc_memory_and_files_outlive_a_restart",
    ),
)

CLOCK = (
    (
        "waits_3_percent_short",
        "waits are 3 % short",
        f"{_TIME}:Clock.pass_until",
        "max(0, moment_ns - self.now_ns)",
        "max(0, moment_ns - self.now_ns) * 97 // 100",
        f"{_SLEEP}test_the_sleep_clock_runs_at_its_speed@stm32f405",
    ),
    (
        "time_stands",
        "executing takes no time",
        f"{_TIME}:Clock.since_start_ns",
        "self.cost * self._pace + ",
        "",
        "tests/reference/test_clock_and_sleep.py::test_executing_takes_time_in_proportion",
    ),
    (
        "timer_3_percent_slow",
        "a periodic timer's grid is 3 % slow",
        f"{_SERVICES}._arm",
        "from_ns + timer.period_ns",
        "from_ns + timer.period_ns * 103 // 100",
        f"{_WAITS}test_a_timers_period_in_the_long_run@esp32",
    ),
    (
        "same_moment_in_reverse",
        "what falls on one moment happens last in, first out",
        f"{_TIME}:Timeline.at",
        "next(self._order)",
        "-next(self._order)",
        "tests/reference/test_timeline.py::test_moments_that_fall_together_keep_their_order",
    ),
    (
        "cancelled_all_the_same",
        "what was called off happens all the same",
        f"{_TIME}:Timeline.cancel",
        "moment.cancelled = True",
        "pass",
        "tests/reference/test_timeline.py::test_what_is_called_off_does_not_happen",
    ),
    (
        "clock_forgets",
        "a restart sets the clock back to power-on",
        f"{_TIME}:Clock.stop",
        "self._origin_ns = self.now_ns",
        "pass",
        _SLEPT,
    ),
)

EVENTS = (
    (
        "every_tenth_edge_lost",
        "of ten edges one is not seen",
        f"{_SERVICES}._edge",
        "pin.fires_at(pin.level)",
        "pin.fires_at(pin.level) and next(self.__dict__.setdefault('n', iter(range(1, 1 << 30)))) % 10",
        f"{_CALLS}test_each_edge_is_handled_once_in_order@esp32",
    ),
    (
        "every_edge_twice",
        "an edge calls its handler twice",
        f"{_SERVICES}._edge",
        "pin.flags = pin.trigger",
        "self._deliver(pin.slot, pin.hard, 'again')",
        f"{_CALLS}test_each_edge_is_handled_once_in_order@esp32",
    ),
    (
        "queue_one_deeper",
        "the scheduler's queue holds one more",
        f"{_IRQ}._depth",
        "else self._port_depth",
        "else self._port_depth + 1",
        f"{_CALLS}test_the_queue_holds_what_the_port_says@stm32f405",
    ),
    (
        "queue_in_reverse",
        "what waits for room comes last in, first out",
        f"{_IRQ}.soft",
        "self._waiting.append((function, argument))",
        "self._waiting.appendleft((function, argument))",
        f"{_CALLS}test_the_queue_holds_what_the_port_says@stm32f405",
    ),
    (
        "held_back_is_lost",
        "what comes while interrupts are off never comes",
        f"{_SERVICES}._lock",
        "self._held_back.pop(0)()",
        "self._held_back.pop(0)",
        "tests/reference/test_interrupts.py::test_disabled_interrupts_come_when_they_are_enabled",
    ),
    (
        "counter_twice",
        "a counter counts an edge twice",
        f"{_STATE}._on_count_start",
        "count + 1",
        "count + 2",
        f"{_CP_IRQ}test_a_counter_counts_each_edge_while_the_program_computes",
    ),
    (
        "counters_pile_up",
        "an edge counts once for each counter that there ever was",
        f"{_STATE}._on_count_start",
        "before is self._count_edge",
        "False",
        f"{_CP_IRQ}test_a_counter_counts_each_edge_while_the_program_computes",
    ),
    (
        "lua_edge_lost",
        "edges that come before their task has run are not counted",
        f"{_GPIO}._edge",
        "seen[2] + 1",
        "seen[2]",
        f"{_EVENTS}test_every_edge_is_counted",
    ),
    (
        "lua_queue_of_9",
        "a queue of tasks holds nine",
        "harness.reference.nodemcu.nodemcu_machine:QUEUE_LIMIT",
        "",
        9,
        f"{_EVENTS}test_tasks_run_by_priority_and_a_full_queue_refuses",
    ),
    (
        "lua_low_first",
        "tasks of low priority run first",
        f"{_NODE}._run_one",
        "(2, 1, 0)",
        "(0, 1, 2)",
        f"{_EVENTS}test_tasks_run_by_priority_and_a_full_queue_refuses",
    ),
    (
        "lua_last_first",
        "of one priority the last task runs first",
        f"{_NODE}._run_one",
        "].popleft()\n",
        "].pop()\n",
        f"{_EVENTS}test_tasks_run_by_priority_and_a_full_queue_refuses",
    ),
    (
        "lua_semi_repeats",
        "a semi-automatic timer needs no start",
        f"{_TIMERS}._fire",
        "timer.mode == _AUTO",
        "timer.mode != _SINGLE",
        f"{_EVENTS}test_timers_call_as_often_as_they_should",
    ),
)

HEAP = (
    (
        "nodes_times_4",
        "a table's nodes are four times their size",
        f"{_LUA}._table",
        "size.node * nodes",
        "4 * size.node * nodes",
        _OBJECTS,
    ),
    (
        "table_times_4",
        "a table's header is four times its size",
        f"{_LUA}._table",
        "return size.table",
        "return 4 * size.table",
        _OBJECTS,
    ),
    (
        "arrays_for_nothing",
        "the array part of a table takes nothing",
        f"{_LUA}._table",
        "size.value * count + ",
        "",
        _OBJECTS,
    ),
    (
        "strings_without_nul",
        "a string has no NUL at its end",
        f"{_LUA}._walk",
        "size.string + length + 1",
        "size.string + length",
        _OBJECTS,
    ),
    (
        "upvalues_for_nothing",
        "upvalues take nothing",
        f"{_LUA}._walk",
        'total["upvalues"] += size.upvalue\n',
        "pass\n",
        _OBJECTS,
    ),
    (
        "closures_for_nothing",
        "a closure's upvalues take nothing",
        f"{_LUA}._closure",
        "self.sizes.closure + self.sizes.pointer * count",
        "self.sizes.closure",
        _OBJECTS,
    ),
    ("thread_without_stack", "a coroutine has no stack", f"{_LUA}._thread", "size.value * stack", "0", _OBJECTS),
    (
        "constants_for_nothing",
        "constants take nothing",
        f"{_LUA}._proto",
        "size.value * proto.constant_count",
        "0",
        f"{_T_LUA}test_the_second_of_a_module_takes_its_code_to_the_byte[json]",
    ),
    (
        "lines_unpacked",
        "line numbers take a word for each instruction",
        f"{_LUA}._proto",
        'packed_lines([line for (line,) in struct.iter_unpack("<i", lines)])',
        "4 * proto.line_count",
        f"{_T_LUA}test_the_second_of_a_module_takes_its_code_to_the_byte[json]",
    ),
    (
        "lfs_strings_in_ram",
        "strings of the image are in RAM as well",
        f"{_LUA}.mark_flash",
        "self._flash_strings = strings",
        "pass",
        f"{_LFS}test_a_reload_replaces_the_image",
    ),
    (
        "lfs_code_in_ram",
        "functions of the image are in RAM as well",
        f"{_LUA}.mark_flash",
        "self._mark_protos(_u64(root + 32))",
        "pass",
        f"{_LFS}test_a_reload_replaces_the_image",
    ),
)

FLASH = (
    (
        "erased_to_fe",
        "an erased byte is 0xFE",
        f"{_FLASH}.erase",
        'b"\\xff" * self.sector',
        'b"\\xfe" * self.sector',
        f"{_T_FLASH}test_erasing_sets_the_bits_of_that_sector_only",
    ),
    (
        "erased_too_far",
        "erasing takes the next sector along",
        f"{_FLASH}.erase",
        'self._data[start : start + self.sector] = b"\\xff" * self.sector',
        'self._data[start : start + 2 * self.sector] = b"\\xff" * len(self._data[start : start + 2 * self.sector])',
        f"{_T_FLASH}test_erasing_sets_the_bits_of_that_sector_only",
    ),
    (
        "bits_set",
        "programming sets bits",
        f"{_FLASH}._clear",
        "& int.from_bytes(data",
        "| int.from_bytes(data",
        f"{_T_FLASH}test_programming_clears_bits_and_never_sets_one",
    ),
    (
        "unit_twice",
        "a unit with ECC takes a second programming",
        f"{_FLASH}.program",
        "if not self._rewrite:",
        "if False:",
        f"{_T_FLASH}test_a_unit_with_ecc_is_programmed_once",
    ),
    (
        "beside_sectors",
        "an erase beside the sectors is done",
        f"{_FLASH}.erase",
        "if offset % self.sector or size % self.sector:",
        "if False:",
        f"{_T_FLASH}test_an_erase_beside_the_sectors_is_refused",
    ),
    (
        "wear_not_counted",
        "erasures are not counted",
        f"{_FLASH}.erase",
        "self.erasures[start // self.sector] += 1",
        "pass",
        f"{_T_FLASH}test_wear_is_counted_where_it_happens",
    ),
    (
        "cut_is_clean",
        "a power cut tears nothing",
        f"{_FLASH}.erase",
        "old | self._tear.getrandbits(8 * self.sector)",
        "old",
        f"{_T_FLASH}test_a_cut_erase_leaves_a_sector_between_old_and_blank",
    ),
)

MUTATIONS = tuple(
    Mutation(name, part, does, target, old, new, catcher)
    for part, rows in (
        ("supervisor", SUPERVISOR),
        ("sleep", SLEEP),
        ("clock", CLOCK),
        ("events", EVENTS),
        ("Lua heap", HEAP),
        ("flash region", FLASH),
    )
    for name, does, target, old, new, catcher in rows
)
