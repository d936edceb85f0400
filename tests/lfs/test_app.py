"""The application's modules do what their comments say, on the host's Lua 5.1."""

from __future__ import annotations

from typing import Any

import pytest
from lupa import lua51

from harness.lfs.build import build_file
from harness.lfs.read import read_image
from tests.lfs.sources import APP

_IMAGE = read_image(build_file({file.name: file.read_bytes() for file in APP}))

_CHECKS = {
    "json": "return M.encode(M.decode(' {\"b\": [1, 2.5, null, \"x\\\\u0041\\\\n\"], \"a\": {\"t\": true}} '))",
    "base64": "return M.encode('any carnal pleas') .. M.decode(M.encode('\\0\\255ab'))",
    "cron": "return tostring(M.due(M.parse('*/15 8-10 * * 1,3'), {minute=30, hour=9, day=1, month=1, weekday=3}))",
    "ds18b20": "return M.decode('\\145\\1\\75\\70\\127\\255\\15\\16' .. string.char(M.crc8('\\145\\1\\75\\70\\127\\255\\15\\16')))",
    "ring": "local r = M.new(2) r:push(1) r:push(2) r:push(3) return r:pop() .. r:pop() .. tostring(r:pop())",
    "statistics": "local s = M.new(3) for _, x in ipairs{4, 2, 9, 1} do s:add(x) end return s.mean .. ' ' .. s:median()",
    "template": "return M.render('{{#l}}<{{value}}>{{/l}}{{{raw}}}', {l = {'a&', 'b'}, raw = '<b>'})",
    "config": "local v, p = M.load('port=99999\\nname = x') return v.port .. v.name .. p[1]",
    "mqtt": """
        local out = {}
        local c = M.new{id = 'x', send = function(s) out[#out + 1] = s end}
        c:connect() c:feed('\\32\\2\\0\\0')
        c:subscribe('a/+', function(topic, message) out[#out + 1] = topic .. message end)
        c:feed('\\48\\7\\0\\3a/') c:feed('bhi')
        return c.state .. #out .. out[#out]""",
    "http_parser": """
        local got
        local p = M.new(function(r) got = r end)
        p:feed('POST /a%20b?x=1&y=%32 HTTP/1.1\\r\\nContent-Length: 3\\r\\n\\r') p:feed('\\nabc')
        return got.method .. got.path .. got.query.y .. got.body""",
    "http_server": """
        local s = M.new()
        s:route('GET', '/led/:n', function(_, p) return 200, p.n end)
        return s:handle({method = 'GET', path = '/led/7'}):sub(-1) .. s:handle({method = 'PUT', path = '/led/7'}):sub(10, 12)""",
    "scheduler": """
        local now, out = 0, {}
        local s = M.new(function() return now end)
        s:spawn('a', function() out[#out + 1] = 'a' coroutine.yield(10) out[#out + 1] = 'b' end)
        local wait = s:step() now = 10 s:step()
        return table.concat(out) .. wait""",
    "state_machine": """
        local m = M.new({initial = 'off', states = {off = {on = {go = 'on'}}, on = {on = {go = {{to = 'off', guard = function() return false end}}}}}})
        return tostring(m:fire('go')) .. m.state .. tostring(m:fire('go'))""",
    "debounce": "local e local b = M(function(kind) e = kind end) b.edge(0, 0) b.edge(1, 100) b.tick(500) return e",
    "pid": "local c = M.new(1, 0.1, 0) c.target = 50 return c:update(20, 1)",
    "logger": "local l = {} local log = M{write = function(s) l[#l + 1] = s end} log.info('x%d', 1) log.debug('no') return #l .. l[1]:sub(-2)",
    "wifi_manager": """
        local w = M.new({connect = function() end, access_point = function() end, mac = function() return 'aa:bb:cc' end}, {{ssid = 'x'}})
        w:start() return w.mode .. w:on_disconnected('gone')""",
    "telemetry": "local n = 0 local t = M.new{encode = function(x) return #x.readings end, send = function(k) n = n + k return true end, clock = function() return 0 end} for i = 1, 11 do t:record('a', i) end t:flush() return n",
    "bme280": "return math.floor(M.temperature({t1 = 27504, t2 = 26435, t3 = -1000}, 519888) * 100)",
    "main": """
        local sent = {}
        local app = M{require = need, write = function() end, clock = function() return 0 end, read_settings = function() return 'name=n' end,
            send = function(s) sent[#sent + 1] = s end, temperature = function() return 21.5 end}
        app.states:fire('up') app.client:feed('\\32\\2\\0\\0') app.tasks:step()
        return #sent .. sent[2]:match('{.*}')""",
}  # fmt: skip

_EXPECTED = {
    "json": b'{"a":{"t":true},"b":[1,2.5,null,"xA\\n"]}',
    "base64": b"YW55IGNhcm5hbCBwbGVhcw==\0\xffab",
    "cron": b"true",
    "ds18b20": 0x0191 * 625,
    "ring": b"23nil",
    "statistics": b"4 2",
    "template": b"<a&amp;><b><b>",
    "config": b"1883xline 1: port has to be from 1 to 65535",
    "mqtt": b"connected3a/bhi",
    "http_parser": b"POST/a b2abc",
    "http_server": b"7405",
    "scheduler": b"ab10",
    "state_machine": b"trueonfalse",
    "debounce": b"single",
    "pid": 33,
    "logger": b"1x1",
    "wifi_manager": b"connecting2",
    "telemetry": 11,
    "bme280": 2508,
    "main": b'2{"dropped":0,"readings":[{"n":"temperature","t":0,"u":"C","v":21.5}]}',
}


def test_every_module_is_checked() -> None:
    assert sorted(_CHECKS) == sorted(_EXPECTED) == [file.stem for file in APP]
    assert len(APP) == 20


@pytest.mark.parametrize("name", sorted(_CHECKS))
def test_a_module_from_the_image_does_its_work(name: str) -> None:
    lua: Any = lua51.LuaRuntime(encoding=None)
    chunks = lua.table_from({module.encode(): _IMAGE.chunk(module) for module in _IMAGE.modules})
    program = (
        b"local chunks = ... local function need(n) return assert(loadstring(chunks[n]))() end local M = need('%s') %s"
    )
    assert lua.execute(program % (name.encode(), _CHECKS[name].encode()), chunks) == _EXPECTED[name]
