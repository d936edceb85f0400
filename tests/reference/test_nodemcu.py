"""NodeMCU's firmware side: what ends a run, what is bounded, what cannot be reached, and LFS through power cuts."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.chips import Reset
from harness.errors import FirmwareFailure, UsageError
from harness.formats.lfs.container import unpack_image
from harness.reference.flash.flash_region import PowerCut, Region
from harness.reference.nodemcu.lfs_build import build_file
from harness.reference.nodemcu.lfs_region import LfsRegion
from harness.reference.nodemcu.lua_reference import LuaReference
from harness.reference.nodemcu.lua_repl import LINE_LIMIT, LineEditor
from harness.runtimes.interface import Intervention

END = "print('\\2|end|-|-|\\3') "


@pytest.fixture
def vm() -> LuaReference:
    return LuaReference()


def out(vm: LuaReference, source: str) -> str:
    result = vm.run(source)
    assert result.stderr == b"", result.stderr
    return result.stdout.decode().replace("\r\n", "\n").strip()


def test_it_computes_the_same_to_the_last_figure() -> None:
    source = "local n = 0 for i = 1, 5000 do n = n + i end print(n, tmr.now(), node.heap())"
    assert out(LuaReference(), source) == out(LuaReference(), source)


@pytest.mark.parametrize(
    "loop",
    [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local function f() f() end while true do pcall(f) end",
        "while true do coroutine.wrap(function() while true do end end)() end",
        "while true do pcall(coroutine.wrap(function() while true do end end)) end",
        "while true do pcall(error, setmetatable({}, {__tostring = error})) end",
    ],
)
def test_no_loop_outlives_the_watchdog(vm: LuaReference, loop: str) -> None:
    vm.run_to_reset(END + loop)
    assert out(vm, "print(node.bootreason())") == "4\t3"


def test_a_busy_program_that_feeds_the_watchdog_goes_on(vm: LuaReference) -> None:
    found = out(vm, "for i = 1, 60 do for j = 1, 1e5 do end tmr.wdclr() end print(tmr.time() > 4)")
    assert found == "true"


def test_what_follows_the_end_of_a_run_never_runs(vm: LuaReference) -> None:
    restart = vm.run_to_reset(END + "pcall(node.restart) print('still here') file.putcontents('late', 'x')")
    assert b"still here" not in restart.stdout + restart.boot
    assert out(vm, "print(file.exists('late'))") == "false"


@pytest.mark.parametrize(
    ("way", "reason"),
    [("node.restart()", "2\t4"), ("node.dsleep(1000)", "2\t5"), ("tmr.softwd(1) _hxwait = true", "2\t4")],
)
def test_the_boot_reason_says_what_ended_the_run(vm: LuaReference, way: str, reason: str) -> None:
    assert out(vm, "print(node.bootreason())") == "1\t0"
    vm.run_to_reset(END + way)
    assert out(vm, "print(node.bootreason())") == reason
    vm.hard_reset()
    assert out(vm, "print(node.bootreason())") == "2\t6"
    vm.power_cycle()
    assert out(vm, "print(node.bootreason())") == "1\t0"


def test_a_sleep_without_an_end_waits_for_a_hand(vm: LuaReference) -> None:
    restart = vm.run_to_reset(END + "node.dsleep(0)", intervention=Intervention(after=90.0))
    assert restart.silent == pytest.approx(90.0, abs=0.01)
    with pytest.raises(FirmwareFailure, match="did not start again"):
        vm.run_to_reset(END + "node.dsleep(0)", within=5.0)


def test_without_the_wire_to_rst_the_timer_wakes_nobody(vm: LuaReference) -> None:
    vm.unwire(16, "RST")
    restart = vm.run_to_reset(END + "node.dsleep(1000000)", intervention=Intervention(after=7.0))
    assert restart.silent == pytest.approx(7.0, abs=0.01)


def test_an_error_in_a_callback_restarts_two_seconds_later(vm: LuaReference) -> None:
    with pytest.raises(FirmwareFailure, match="restarted by itself"):
        vm.run("_hxwait = true tmr.create():alarm(10, 0, function() error('lost') end)")
    source = "_hxwait = true node.setonerror(function(e) print('handled', (e:match('lost'))) _hxe() end)"
    assert "handled\tlost" in out(vm, source + " tmr.create():alarm(10, 0, function() error('lost') end)")


def test_an_error_in_the_error_handler_is_a_panic(vm: LuaReference) -> None:
    source = "_hxwait = true node.setonerror(function(e) error('again') end)"
    with pytest.raises(FirmwareFailure, match=r"PANIC: unprotected error in call to Lua API \(.*again\)"):
        vm.run(source + " tmr.create():alarm(10, 0, function() error('lost') end)")
    assert out(vm, "print(node.bootreason())") == "4\t3"


@pytest.mark.parametrize(
    "taken", ["t[i] = {i}", "t[i] = ('x'):rep(200) .. i", "t[i] = function() return i end", "t[i] = newproxy()"]
)
def test_memory_of_every_kind_is_bounded_and_comes_back(vm: LuaReference, taken: str) -> None:
    found = out(
        vm,
        f"collectgarbage() local a = node.heap() local n = 0 print(pcall(function() local t = {{}} "
        f"for i = 1, 1e6 do {taken} n = i end end)) collectgarbage() print(a - node.heap() < 200, n < 5000)",
    )
    assert found == "false\tnot enough memory\ntrue\ttrue"


def test_one_call_cannot_take_the_hosts_memory(vm: LuaReference) -> None:
    assert "not enough memory" in out(vm, "print(pcall(string.rep, 'x', 1e9))")


@pytest.mark.parametrize(
    "name",
    ["io", "os", "python", "debug.getregistry", "debug.sethook", "debug.getupvalue", "package.loadlib"],
)
def test_the_host_is_out_of_reach(vm: LuaReference, name: str) -> None:
    first, _, rest = name.partition(".")
    assert out(vm, f"local v = {first} print(v and v.{rest or 'x'})") == "nil"


def test_functions_of_the_firmware_do_not_lead_to_the_host(vm: LuaReference) -> None:
    found = out(
        vm,
        "local names = {} for _, f in ipairs{print, loadstring, tmr.now, string.rep, require} do "
        "for k in pairs(getfenv(f)) do names[k] = true end end "
        "print(names.io, names.os, names.python, names.debug)",
    )
    assert found == "nil\tnil\tnil\tnil"


def test_a_call_that_takes_more_than_the_heap_fails_where_it_stands(vm: LuaReference) -> None:
    assert out(vm, "print(pcall(string.rep, 'x', 50000))") == "false\tnot enough memory"
    assert out(vm, "print(pcall(function() return #('x'):rep(50000) end))") == "false\tnot enough memory"
    doubled = "local s = ('x'):rep(12000) print((pcall(string.upper, s)), pcall(table.concat, {s, s, s, s}))"
    assert out(vm, doubled) == "true\tfalse\tnot enough memory"
    assert out(vm, "print(#('x'):rep(20000), #('x'):rep(20000))") == "20000\t20000"


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        ("string.rep()", "bad argument #1 to 'rep' (string expected, got no value)"),
        ("('x'):rep()", "bad argument #1 to 'rep' (number expected, got no value)"),
        ("string.rep('x', {})", "bad argument #2 to 'rep' (number expected, got table)"),
        ("table.concat{{}}", "invalid value (table) at index 1 in table for 'concat'"),
        ("string.format('%d', 'x')", "bad argument #2 to 'format' (number expected, got string)"),
    ],
)
def test_a_watched_call_fails_as_the_firmwares_own(vm: LuaReference, call: str, problem: str) -> None:
    vm.put("m.lua", f"\n\nreturn {call} or 1".encode())
    assert out(vm, "print(select(2, pcall(dofile, 'm.lua')))") == f"m.lua:3: {problem}"


def test_a_function_is_dumped_as_this_firmwares_bytecode(vm: LuaReference) -> None:
    program = "local f = loadstring('local a = ... return a * 2, error') print(loadstring(string.dump(f))(21) == 42)"
    assert out(vm, program) == "true"
    found = out(vm, "local d = string.dump(function() return 1 end) print(d:byte(1, 12)) print(#d)")
    header, size = found.splitlines()
    assert header.split() == ["27", "76", "117", "97", "81", "0", "1", "4", "4", "4", "8", "0"]
    for strip in ("2", "true"):
        shorter = out(vm, f"print(#string.dump(function() return 1 end, {strip}))")
        assert int(shorter) < int(size)
    for strip in ("nil", "0", "1", "false"):
        assert out(vm, f"print(#string.dump(function() return 1 end, {strip}))") == size


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        ("string.dump(print)", "unable to dump given function"),
        ("string.dump(require)", "unable to dump given function"),
        ("string.dump(1)", "bad argument #1 to 'dump' (function expected, got number)"),
        ("string.dump(function() end, 3)", "bad argument #2 to 'dump' (strip out of range)"),
    ],
)
def test_what_cannot_be_dumped(vm: LuaReference, call: str, problem: str) -> None:
    assert out(vm, f"print(select(2, pcall(function() return {call}, 1 end)))").endswith(problem)


@pytest.mark.holds("store.getstrings")
def test_the_string_tables_are_listed(vm: LuaReference) -> None:
    assert out(vm, "print(debug.getstrings('ROM'))") == "nil"
    assert "invalid option 'FLASH'" in out(vm, "print(pcall(debug.getstrings, 'FLASH'))")
    listed = "local s = {} for _, v in ipairs(debug.getstrings(%s)) do s[v] = (s[v] or 0) + 1 end "
    ask = "kept_word = 'a word of mine' " + listed + "print(s['a word of mine'], s.kept_word, s['only' .. ' in flash'])"
    assert out(vm, ask % "'RAM'") == out(vm, ask % "") == "1\t1\tnil"
    assert out(vm, "local t = debug.getstrings() for i = 2, #t do assert(t[i - 1] < t[i]) end print(#t > 10)") == "true"
    vm.put("lfs.img", build_file({"m.lua": b"return 'only in flash', 'a word of mine'"}))
    assert vm.reload_lfs("lfs.img") == ""
    assert out(vm, ask % "'ROM'") == "1\tnil\t1"
    assert out(vm, ask % "'RAM'").startswith("nil\t1\t")


@pytest.mark.holds("store.lfs-get", "store.index")
def test_lfs_answers_nil_for_what_it_does_not_hold(vm: LuaReference) -> None:
    ask = "print(select('#', %s), %s)"
    calls = ["node.flashindex('x')", "node.flashindex()", "node.LFS.get()", "node.LFS.get('x')", "node.LFS.x"]
    for call in calls:
        assert out(vm, ask % (call, call)) == "1\tnil"
    vm.put("lfs.img", build_file({"m.lua": b"return 42"}, build_time=1_700_000_000))
    assert vm.reload_lfs("lfs.img") == ""
    for call in calls:
        assert out(vm, ask % (call, call)) == "1\tnil"
    for call in ("node.flashindex('m')()", "node.LFS.get('m')()", "node.LFS.m()"):
        assert out(vm, f"print({call})") == "42"
    assert out(vm, "print(node.LFS.time, table.concat(node.LFS.list(), ','))") == "1700000000\tm"


def test_the_emergency_collector_collects_when_its_mode_says(vm: LuaReference) -> None:
    for call, problem in (("8", "invalid mode"), ("-1", "invalid mode"), ("2", "limit must be non-zero")):
        assert problem in out(vm, f"print(pcall(node.egc.setmode, {call}))")
    garbage = "collectgarbage() collectgarbage('stop') local a = node.heap() for i = 1, 40 do local t = {i} end "
    assert out(vm, garbage + "print(a - node.heap() > 1000)") == "true"
    assert out(vm, "node.egc.setmode(node.egc.ALWAYS) " + garbage + "print(a - node.heap() < 200)") == "true"
    limited = "collectgarbage() node.egc.setmode(node.egc.ON_MEM_LIMIT, %d) local n = 0 "
    counted = limited + "print(pcall(function() local t = {} for i = 1, 1e4 do t[i] = {i} n = i end end)) print(n)"
    few, more = (out(vm, counted % limit).splitlines() for limit in (15000, 30000))
    assert few[0] == more[0] == "false\tnot enough memory"
    assert int(few[1]) < int(more[1])


def test_without_the_emergency_collector_garbage_can_fill_the_heap(vm: LuaReference) -> None:
    program = (
        "collectgarbage() collectgarbage('stop') node.egc.setmode(%s) "
        "print(pcall(function() for i = 1, 200 do local s = ('x'):rep(1000) .. i end end)) collectgarbage('restart')"
    )
    assert out(vm, program % "node.egc.NOT_ACTIVE") == "false\tnot enough memory"
    assert out(vm, program % "node.egc.ON_ALLOC_FAILURE") == "true"


def test_foreign_bytecode_is_refused(vm: LuaReference) -> None:
    assert "bad header in precompiled chunk" in out(vm, "print(loadstring('\\27Lua' .. ('x'):rep(40)))")


def test_a_compiled_file_runs_as_its_source(vm: LuaReference) -> None:
    vm.put("m.lua", b"local a = ... return {name = a, f = function(x) return x * 2 end}")
    source = "node.compile('m.lua') file.remove('m.lua') print(require('m').f(21), require('m').name)"
    assert out(vm, source) == "42\tm"


def test_rtc_memory_refuses_what_does_not_fit(vm: LuaReference) -> None:
    assert out(vm, "rtcmem.write32(126, -1, 7) print(rtcmem.read32(126, 2))") == "-1\t7"
    assert "RTC mem would overrun" in out(vm, "print(pcall(rtcmem.write32, 127, 1, 2))")
    assert out(vm, "print(select('#', rtcmem.read32(127, 2)))") == "0"


def test_a_partition_table_is_changed_and_a_bad_one_refused(vm: LuaReference) -> None:
    assert "Partition value out of range" in out(vm, "print(pcall(node.setpartitiontable, {lfs_size = 4097}))")
    vm.run_to_reset(END + "node.setpartitiontable{lfs_size = 0x10000}")
    assert out(vm, "print(node.getpartitiontable().lfs_size, node.LFS.config.lfs_size)") == "65536\t65536"


def test_a_startup_command_replaces_init_lua(vm: LuaReference) -> None:
    vm.put("init.lua", b"started = 'init'")
    vm.soft_reset()
    assert out(vm, "print(started)") == "init"
    vm.run("node.startupcommand('started = 6 * 7')")
    vm.soft_reset()
    assert out(vm, "print(started)") == "42"


# -- the line editor -----------------------------------------------------------------------------------


def test_a_crlf_is_one_line_end_and_backspace_takes_back() -> None:
    echo = bytearray()
    editor = LineEditor(echo.extend)
    lines = [line for byte in b"ab\x08c\r\nd\n\r" if (line := editor.take(byte)) is not None]
    assert lines == [b"ac", b"d"]
    assert bytes(echo) == b"ab\x08 \x08c\nd\n"


def test_what_is_typed_in_one_piece_comes_back_in_one() -> None:
    """Byte for byte it cost a host as many packets as there are bytes."""
    echoes: list[bytes] = []
    editor = LineEditor(echoes.append)
    for byte in b"print(1)\rprin":
        editor.take(byte)
    assert echoes == [b"print(1)\n"]
    editor.flush()
    editor.flush()
    assert echoes == [b"print(1)\n", b"prin"]


@given(st.binary(max_size=700))
@settings(max_examples=150)
def test_no_line_is_longer_than_the_buffer(data: bytes) -> None:
    editor = LineEditor(lambda _data: None)
    lines = [line for byte in data + b"\r" if (line := editor.take(byte)) is not None]
    assert all(len(line) < LINE_LIMIT and all(0x20 <= c < 0x7F for c in line) for line in lines)


# -- LFS -----------------------------------------------------------------------------------------------


def _image(text: str) -> bytes:
    body = " ".join(f"t[{n}] = '{text} {n}'" for n in range(150))
    return build_file({"probe.lua": f"local t = {{}} {body} return t".encode()}, build_time=5)


OLD, NEW = _image("old"), _image("new")


def _modules(region: LfsRegion) -> frozenset[bytes] | None:
    loaded = region.load()
    return None if loaded is None else loaded.strings


@pytest.mark.holds("store.incomplete")
@given(st.integers(0, 40), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_power_cut_during_a_reload_leaves_the_new_image_or_none(step: int, again: bool) -> None:
    flash = Region(0x20000)
    region = LfsRegion(flash, 0, 0x20000)
    region.write(OLD, lambda _ns: None)
    flash.cut_power(step)
    try:
        region.write(NEW, lambda _ns: None)
        cut = False
    except PowerCut:
        cut = True
    flash.power_on()
    found = _modules(LfsRegion(flash, 0, 0x20000))
    strings = frozenset(f"new {n}".encode() for n in range(150))
    assert found is None or strings <= found
    assert cut or found is not None
    if again:
        after = LfsRegion(flash, 0, 0x20000)
        assert after.refuses(NEW, 30_000) == ""
        after.write(NEW, lambda _ns: None)
        assert strings <= (_modules(after) or frozenset())


def test_an_interrupted_reload_is_seen_once_and_cleared() -> None:
    flash = Region(0x20000)
    LfsRegion(flash, 0, 0x20000).write(OLD, lambda _ns: None)
    flash.program(0, (0xFAFAA15C).to_bytes(4, "little"))  # a fresh region would have it after the header
    flash.erase(0, 4096)
    flash.program(0, (0xFAFAA15C).to_bytes(4, "little"))
    first, second = LfsRegion(flash, 0, 0x20000), LfsRegion(flash, 0, 0x20000)
    assert first.load() is None and first.problem == "Flash sig not correct: 0xfafaa15c vs 0xfafaa154"
    assert second.load() is None and second.problem == "No LFS image loaded"


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_damaged_image_is_written(data: st.DataObject) -> None:
    at = data.draw(st.integers(10, len(OLD) - 1))
    bad = bytearray(OLD)
    bad[at] ^= data.draw(st.integers(1, 255))
    said = LfsRegion(Region(0x20000), 0, 0x20000).refuses(bytes(bad), 40_000)
    # The time of the header and bits behind the last block are not covered by the sum.
    assert said or zlib.decompress(bytes(bad), 31) == zlib.decompress(OLD, 31)


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_the_board_and_the_librarys_loader_refuse_the_same_images(data: st.DataObject) -> None:
    """Two readers of the format that share nothing: the board's loader, and the check of ``harness lfs``."""
    bad = bytearray(OLD[: data.draw(st.integers(150, len(OLD)))])
    for _ in range(data.draw(st.integers(0, 2))):
        bad[data.draw(st.integers(0, len(bad) - 1))] ^= data.draw(st.integers(1, 255))
    region = LfsRegion(Region(0x20000), 0, 0x20000)
    try:
        unpack_image(bytes(bad), region_size=0x20000)
        refused = False
    except UsageError:
        refused = True
    assert bool(region.refuses(bytes(bad), 1 << 40)) == refused


def test_a_reload_without_memory_is_refused() -> None:
    assert LfsRegion(Region(0x20000), 0, 0x20000).refuses(OLD, 15_000) == "Memory allocation error"
    assert LfsRegion(Region(0x20000), 0, 0).refuses(OLD, 40_000) == "No LFS partition allocated"


def test_the_chip_goes_on_after_every_kind_of_reset() -> None:
    vm = LuaReference()
    for cause in (Reset.PIN, Reset.WATCHDOG, Reset.POWER_ON, Reset.MACHINE):
        vm.world.restart(cause)
        vm.enter(after_reset=True)
        assert out(vm, "print(6 * 7)") == "42"


@pytest.mark.holds("store.region")
def test_firmware_without_a_region_says_so() -> None:
    vm = LuaReference(lfs_size=0)
    assert out(vm, "print(node.getpartitiontable().lfs_size, node.flashindex('x'))") == "0\tnil"
    for reload in ("node.flashreload", "node.LFS.reload"):
        assert out(vm, f"print({reload}('any.img'))") == "No LFS partition allocated"
