-- The part of the firmware that is Lua here: library tables, callbacks, and what may be reached of the host.
-- All that is made before start() belongs to the firmware and costs no heap; see lua_heap.py.
local host, STEP = ...
local STOP = host.stop

local assert, error, xpcall, type, select, next = assert, error, xpcall, type, select, next
local tostring, setmetatable, setfenv, loadstring, ipairs = tostring, setmetatable, setfenv, loadstring, ipairs
local collect, proxy, unpack = collectgarbage, newproxy, unpack
local info, dump, pcall, tonumber, floor = debug.getinfo, string.dump, pcall, tonumber, math.floor
local sethook, traceback, create, resume, status =
  debug.sethook, debug.traceback, coroutine.create, coroutine.resume, coroutine.status
local sub, concat, sort = string.sub, table.concat, table.sort

-- the instruction hook: cost, watchdog, memory, and the end of the run. A program can catch the error that ends it,
-- so from then on every instruction raises it.
local step, full, over, used, free = host.step, host.full, host.over, host.used, host.free
local hook

-- the emergency collector (app/lua/lauxlib.c l_alloc): when it collects, by node.egc.setmode
local ON_ALLOC_FAILURE, ON_MEM_LIMIT, ALWAYS = 1, 2, 4
local egc_mode, egc_limit = ON_ALLOC_FAILURE, 0
local function has(mode) return egc_mode % (2 * mode) >= mode end
-- the error, when there is more than may be, and a collection is not allowed or did not help; `known` that there is
local function overdrawn(known)
  if has(ON_MEM_LIMIT) then
    if egc_limit > 0 and used() > egc_limit then
      collect()
      if used() > egc_limit then return "not enough memory" end
    elseif egc_limit < 0 and free() < -egc_limit then
      collect()
    end
  end
  if not (known or over()) then return nil end
  if has(ALWAYS) or has(ON_ALLOC_FAILURE) then collect() end
  return full()
end
-- with ALWAYS no garbage is ever seen
local function seen(figure)
  return function(...)
    if has(ALWAYS) then collect() end
    return figure(...)
  end
end
local function stop()
  sethook(hook, "", 1)
  error(STOP, 0)
end
function hook()
  local why = step()
  if why == 1 or why == nil and has(ON_MEM_LIMIT) then why = overdrawn(why == 1) end
  if why == STOP then stop() end
  if why then error(why, 0) end
end

-- what the host's functions return: true and values, false and a message, or nil when the chip is to stop
local function finish(ok, ...)
  if ok then return ... end
  if ok == nil then stop() end
  error((...), 3)
end

local function native(name)
  local f = assert(host[name], name)
  return function(...) return finish(f(...)) end
end

local function module(prefix, names)
  local t = {}
  for name in names:gmatch("%S+") do t[name] = native(prefix .. "_" .. name) end
  return t
end

-- a method of an object that is a number to the host
local ids = setmetatable({}, {__mode = "k"})

local function method(name)
  local f = assert(host[name], name)
  return function(self, ...)
    local id = ids[self]
    if not id then error("object expected", 2) end
    return finish(f(id, ...))
  end
end

-- callbacks that something of the firmware holds, by the host's number
local refs = {}
local function keep(id, f) refs[id] = f end
host.bind("forget", function(id) refs[id] = nil end)

local function callable(f, where)
  if type(f) ~= "function" then
    error("bad argument #" .. where .. " (function expected, got " .. type(f) .. ")", 3)
  end
  return f
end

-- ---------------------------------------------------------------------------------------------------
local rom = {}
for name in ("assert error gcinfo getfenv getmetatable next pcall rawequal rawget rawset select setfenv setmetatable "
  .. "tonumber tostring type unpack xpcall ipairs pairs newproxy"):gmatch("%S+") do
  rom[name] = assert(_G[name], name)
end
rom._VERSION = _VERSION

local write = host.write
function rom.print(...)
  local line = {}
  for i = 1, select("#", ...) do
    local text = tostring((select(i, ...)))
    if type(text) ~= "string" then error("'tostring' must return a string to 'print'", 2) end
    line[i] = text
  end
  write(concat(line, "\t") .. "\n")
end

function rom.collectgarbage(what, argument)
  if what == "count" then return seen(used)() / 1024 end
  if what == nil or what == "collect" then return collect("collect") end
  return collect(what, argument)
end
function rom.gcinfo() return used() / 1024 end

-- binary chunks only come from this firmware's own compiler, through the host's converter
local undump = host.undump
local function loaded(text, name)
  if sub(text, 1, 1) == "\27" then
    local ok, chunk = undump(text)
    if not ok then return nil, name:gsub("^[=@]", "") .. ": " .. chunk end
    text = chunk
  end
  local f, problem = loadstring(text, name)
  -- a whole module comes in with few instructions, so the hook may be late to see what it takes
  if over() then
    text = nil
    local why = overdrawn(true)
    if why then return nil, why end
  end
  return f, problem
end
function rom.loadstring(text, name)
  if type(text) ~= "string" then error("bad argument #1 to 'loadstring' (string expected)", 2) end
  return loaded(text, name or text)
end
function rom.load(reader, name)
  local parts = {}
  while true do
    local part = reader()
    if part == nil or part == "" then break end
    parts[#parts + 1] = part
  end
  return loaded(concat(parts), name or "=(load)")
end
local content = host.file_content
function rom.loadfile(name)
  local ok, text = content(name)
  if not ok then return nil, text end
  text = text:gsub("^#[^\n]*", "")
  return loaded(text, "@" .. name)
end
function rom.dofile(name)
  local f, problem = rom.loadfile(name)
  if not f then error(problem, 2) end
  return f()
end

rom.string = {}
for name, f in next, string do if name ~= "dump" and name ~= "gfind" then rom.string[name] = f end end
getmetatable("").__index = rom.string

-- What one call can make much of is looked at when it returns; the hook would come too late. The caller sees no wrapper:
-- errors have its line and the function's name.
local function checked(name, ok, result)
  if not ok then
    if type(result) == "string" then
      local at, what = result:match("^bad argument #(%d+) to '%?'(.*)")
      if at then
        if info(2, "n").namewhat == "method" then at = at - 1 end
        result = at == 0 and "calling '" .. name .. "' on bad self" .. what or "bad argument #" .. at .. " to '" .. name .. "'" .. what
      end
    end
    error(result, 3)
  end
  if type(result) == "string" and #result >= 256 then
    local why = overdrawn()
    if why then error(why, 0) end
  end
  return result
end
local function bounded(name, f)
  return function(...) return (checked(name, pcall(f, ...))) end  -- no tail call: `checked` looks at its caller
end
for name in ("rep format lower upper reverse char"):gmatch("%S+") do rom.string[name] = bounded(name, string[name]) end
rom.table = {}
for name, f in next, table do rom.table[name] = f end
rom.table.concat = bounded("concat", table.concat)

-- a function as this firmware's bytecode; `strip` 2 (or true) leaves the lines out (lstrlib.c str_dump)
local to_target = host.dump
function rom.string.dump(f, strip)
  if type(strip) == "boolean" then
    strip = strip and 2 or 0
  elseif strip ~= nil then
    strip = floor(tonumber(strip) or 0)
    if strip < 0 or strip > 2 then error("bad argument #2 to 'dump' (strip out of range)", 2) end
  end
  if type(f) ~= "function" then
    error("bad argument #1 to 'dump' (function expected, got " .. (f == nil and "no value" or type(f)) .. ")", 2)
  end
  local of = info(f, "S")
  if of.what == "C" or of.source == "=prelude" then error("unable to dump given function", 2) end
  return finish(to_target(dump(f), strip or -1))
end
rom.math = {}
for name in ("abs ceil floor max min pow random randomseed sqrt huge pi"):gmatch("%S+") do
  rom.math[name] = math[name]
end
-- what of the firmware is Lua here is C on the chip, and has no line there
rom.debug = {traceback = function(text)
  if text ~= nil and type(text) ~= "string" then return text end
  return (traceback(text or "", 2):gsub("\n\tprelude:[^\n]*", ""))
end}
-- all strings of the string table in RAM, or of that in LFS (ldblib.c db_getstrings)
local strings = host.strings
function rom.debug.getstrings(of)
  if of == nil then of = "RAM" end
  if of ~= "RAM" and of ~= "ROM" then
    if type(of) ~= "string" and type(of) ~= "number" then
      error("bad argument #1 to 'getstrings' (string expected, got " .. type(of) .. ")", 2)
    end
    error("bad argument #1 to 'getstrings' (invalid option '" .. of .. "')", 2)
  end
  local list = {finish(strings(of))}
  if list[1] == nil then return nil end
  return list
end
rom.coroutine = {resume = resume, status = status, running = coroutine.running, yield = coroutine.yield}
function rom.coroutine.create(f)
  local thread = create(f)
  sethook(thread, hook, "", STEP)
  return thread
end
local function unwrapped(ok, ...)
  if ok then return ... end
  error((...), 0)
end
function rom.coroutine.wrap(f)
  local thread = rom.coroutine.create(f)
  return function(...) return unwrapped(resume(thread, ...)) end
end

-- ---------------------------------------------------------------------------------------------------
local node = module("node", "heap restart dsleep dsleepMax chipid flashid flashsize bootreason random setcpufreq "
  .. "getcpufreq sleep")
rom.node = node
node.heap = seen(node.heap)
node.CPU80MHZ, node.CPU160MHZ = 80, 160

local information = host.node_info
function node.info(group)
  local t, n = {}, nil
  if group == nil then return finish(information()) end
  local list = {finish(information(group))}
  for i = 1, #list, 2 do t[list[i]] = list[i + 1] end
  return t
end
local partitions = host.node_partitions
function node.getpartitiontable()
  local a, b, c, d = finish(partitions())
  return {lfs_addr = a, lfs_size = b, spiffs_addr = c, spiffs_size = d}
end
local set_partitions = host.node_setpartitions
function node.setpartitiontable(t)
  return finish(set_partitions(t.lfs_addr, t.lfs_size, t.spiffs_addr, t.spiffs_size))
end
node.startupcommand = native("node_startupcommand")
function node.input(line) finish(host.node_input(line)) end
function node.osprint() end

local level = 2
function node.stripdebug(new, f)
  if new ~= nil then level = new end
  if new == nil then return level end
end
node.egc = {NOT_ACTIVE = 0, ON_ALLOC_FAILURE = ON_ALLOC_FAILURE, ON_MEM_LIMIT = ON_MEM_LIMIT, ALWAYS = ALWAYS}
function node.egc.setmode(mode, limit)
  mode, limit = tonumber(mode), tonumber(limit) or 0
  if not mode then error("bad argument #1 to 'setmode' (number expected)", 2) end
  if mode < 0 or mode > ON_ALLOC_FAILURE + ON_MEM_LIMIT + ALWAYS then
    error("bad argument #1 to 'setmode' (invalid mode)", 2)
  end
  mode = floor(mode)
  if mode % (2 * ON_MEM_LIMIT) >= ON_MEM_LIMIT and limit == 0 then
    error("bad argument #1 to 'setmode' (limit must be non-zero)", 2)
  end
  egc_mode, egc_limit = mode, limit
end
local meminfo = host.node_meminfo
function node.egc.meminfo() return finish(seen(meminfo)()) end

function node.compile(name)
  local ok, text = content(name)
  if not ok then error(text, 2) end
  local f, problem = loadstring(text, "@" .. name)
  if not f then error(problem, 2) end
  return finish(host.node_compile(name, string.dump(f)))
end

local post = host.task_post
node.task = {LOW_PRIORITY = 0, MEDIUM_PRIORITY = 1, HIGH_PRIORITY = 2}
function node.task.post(priority, f)
  if f == nil then priority, f = 1, priority end
  callable(f, 2)
  keep(finish(post(priority)), f)
end

local on_error
function node.setonerror(f) on_error = f end

-- LFS: `index` is the image's own function, see machine.py
local index
local lfs = {}
node.LFS = setmetatable({}, {__index = function(_, name)
  if lfs[name] then return lfs[name] end
  if name == "config" then
    local list, t = {finish(host.lfs_config())}, {}
    for i = 1, #list, 2 do t[list[i]] = list[i + 1] end
    return t
  end
  if name == "time" then return index and (index(nil)) or nil end
  return lfs.get(name)
end})
-- a module; nil for any other name, for none, and without an image (app/lua/lnodemcu.c luaL_pushlfsmodule)
function lfs.get(name)
  local f = index and index(name)
  return type(f) == "function" and f or nil
end
function lfs.list()
  if not index then return nil end
  local _, names = index(nil)
  sort(names)
  return names
end
lfs.reload = native("lfs_reload")
node.flashreload = lfs.reload
node.flashindex = lfs.get

-- ---------------------------------------------------------------------------------------------------
rom.rtcmem = module("rtcmem", "read32 write32")

local tmr = module("tmr", "now time delay wdclr softwd")
rom.tmr = tmr
tmr.ALARM_SINGLE, tmr.ALARM_SEMI, tmr.ALARM_AUTO = 0, 2, 1
local timer = proxy(true)
local timers = {}
local function timer_register(self, ms, mode, f)
  keep(ids[self] or error("tmr.timer expected", 2), callable(f, 3))
  finish(host.timer_register(ids[self], ms, mode))
end
local timer_start = method("timer_start")
getmetatable(timer).__index = {
  register = timer_register,
  start = function(self, ...)
    timers[ids[self] or 0] = self
    return timer_start(self, ...)
  end,
  alarm = function(self, ms, mode, f)
    timer_register(self, ms, mode, f)
    timers[ids[self]] = self
    return timer_start(self)
  end,
  stop = method("timer_stop"),
  unregister = function(self)
    local id = ids[self]
    if id then finish(host.timer_unregister(id)) end
    refs[id], timers[id] = nil, nil
  end,
  interval = method("timer_interval"),
  state = method("timer_state"),
}
local timer_new = host.timer_new
function tmr.create()
  local t = proxy(timer)
  ids[t] = finish(timer_new())
  return t
end
host.bind("idle_timer", function(id) timers[id] = nil end)

local gpio = module("gpio", "mode read write")
rom.gpio = gpio
gpio.OUTPUT, gpio.OPENDRAIN, gpio.INPUT, gpio.INT = 1, 3, 0, 2
gpio.HIGH, gpio.LOW, gpio.FLOAT, gpio.PULLUP = 1, 0, 0, 1
local trig = host.gpio_trig
function gpio.trig(pin, kind, f)
  local id = finish(trig(pin, kind, f ~= nil))
  if f ~= nil then keep(id, callable(f, 3)) end
  if kind == nil or kind == "none" then refs[id] = nil end
end

rom.uart = module("uart", "setup getconfig write alt")
local uart_on = host.uart_on
function rom.uart.on(event, limit, f, run)
  if type(limit) == "function" then limit, f, run = 1, limit, f end
  local id = finish(uart_on(event, limit, f ~= nil, run))
  if f ~= nil then keep(id, callable(f, 3)) else refs[id] = nil end
end

-- ---------------------------------------------------------------------------------------------------
local file = module("file", "exists remove rename fsinfo format")
rom.file = file
local listing, stat, open = host.file_list, host.file_stat, host.file_open
function file.list(pattern)
  local t, all = {}, {finish(listing())}
  for i = 1, #all, 2 do
    if pattern == nil or all[i]:match(pattern) then t[all[i]] = all[i + 1] end
  end
  return t
end
function file.stat(name)
  local size = finish(stat(name))
  if size then return {name = name, size = size, is_dir = false} end
end
local handle = proxy(true)
local methods = {}
getmetatable(handle).__index = methods
for name in ("read readline write writeline seek flush"):gmatch("%S+") do methods[name] = method("file_" .. name) end
local closing = method("file_close")
local default
function methods.close(self)
  if default == self then default = nil end
  return closing(self)
end
getmetatable(handle).__gc = function(self)
  if ids[self] then host.file_close(ids[self]) end
end
function file.open(name, mode)
  local id = finish(open(name, mode))
  if not id then return nil end
  local f = proxy(handle)
  ids[f] = id
  default = f
  return f
end
function file.close()
  if default then default:close() end
end
for _, name in next, {"read", "readline", "write", "writeline", "seek", "flush"} do
  local f = methods[name]
  file[name] = function(...)
    if not default then error("open a file first", 2) end
    return f(default, ...)
  end
end
function file.putcontents(name, text)
  local f = file.open(name, "w")
  if not f then return nil end
  local done = f:write(text)
  f:close()
  return done
end
function file.getcontents(name)
  local ok, text = content(name)
  if ok then return text end
end

rom.encoder = module("encoder", "toBase64 fromBase64 toHex fromHex")
rom.crypto = module("crypto", "hash")

-- ---------------------------------------------------------------------------------------------------
local function preload(name)
  local f = rom.package.preload[name]
  return f or "\n\tno field package.preload['" .. name .. "']"
end
local function from_files(name)
  local tried = ""
  for template in rom.package.path:gmatch("[^;]+") do
    local path = template:gsub("%?", name)
    if finish(host.file_exists(path)) then
      local f, problem = rom.loadfile(path)
      if not f then
        error("error loading module '" .. name .. "' from file '" .. path .. "':\n\t" .. problem, 3)
      end
      return f
    end
    tried = tried .. "\n\tno file '" .. path .. "'"
  end
  return tried
end
function rom.require(name)
  local package = rom.package
  if package.loaded[name] ~= nil then return package.loaded[name] end
  local tried = ""
  for _, loader in ipairs(package.loaders) do
    local f = loader(name)
    if type(f) == "function" then
      package.loaded[name] = true
      local value = f(name)
      if value ~= nil then package.loaded[name] = value end
      return package.loaded[name]
    elseif type(f) == "string" then
      tried = tried .. f
    end
  end
  error("module '" .. name .. "' not found:" .. tried, 2)
end

-- what the host calls; each returns true, or false and the error with its traceback
local function trace(problem)
  if type(problem) ~= "string" then return problem end
  return traceback(problem, 2)
end

local function callback(f, ...)
  local arguments, n = {...}, select("#", ...)
  local ok, problem = xpcall(function() f(unpack(arguments, 1, n)) end, trace)
  if ok or not on_error or problem == STOP then return ok, problem end
  ok, problem = xpcall(function() on_error(problem) end, trace)
  return ok, problem, not ok
end

host.bind("timer", function(id) return callback(refs[id] or function() end, timers[id]) end)
host.bind("task", function(id, priority)
  local f = refs[id]
  refs[id] = nil
  return callback(f, priority)
end)
host.bind("event", function(id, ...)
  if refs[id] then return callback(refs[id], ...) end
  return true
end)

host.bind("line", function(text)
  local f, problem = loadstring(text, "=stdin")
  if not f then
    if sub(problem, -7) == "'<eof>'" then return "more" end
    return false, problem
  end
  local function shown(ok, ...)
    if ok and select("#", ...) > 0 then rom.print(...) end
    return ok, (...)
  end
  return shown(xpcall(f, trace))
end)
host.bind("dofile", function(name)
  local f, problem = rom.loadfile(name)
  if not f then return false, problem end
  return xpcall(f, trace)
end)
host.bind("lfs_start", function(name)
  local f = lfs.get(name)
  if not f then return false, "cannot find LFS module " .. tostring(name) end
  return xpcall(f, trace)
end)
host.bind("use_index", function(chunk)
  index = assert(loadstring(chunk, "=(luac)"))
  return tostring(index)
end)

host.bind("start", function()
  local ram = {}
  ram._G = ram
  rom.package = {loaded = {}, preload = {}, path = "?.lc;?.lua", loaders = {preload, from_files}}
  ram.package = rom.package
  setfenv(0, setmetatable(ram, {__index = rom}))
end)
host.bind("hooked", function() sethook(hook, "", STEP) end)
-- The firmware collects when a tenth has been added (its pause is 110). Here the host's objects of the firmware itself
-- are many times what a program has, so the collector goes on at once, and fast, to leave about as little garbage.
collect("setpause", 100)
collect("setstepmul", 4000)
for _, name in next, {"io", "os", "python", "package", "module", "require", "load", "loadfile", "dofile", "loadstring",
  "debug", "coroutine", "print", "collectgarbage"} do _G[name] = nil end
local thread, empty = create(function() end), {}
return tostring(thread), tostring(empty), thread, empty
