local M, need = ...
local now, out = 0, {}
local s = M.new(function() return now end)
s:spawn('a', function() out[#out + 1] = 'a' coroutine.yield(10) out[#out + 1] = 'b' end)
local wait = s:step() now = 10 s:step()
return table.concat(out) .. wait
