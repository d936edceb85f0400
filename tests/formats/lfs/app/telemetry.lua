local M, need = ...
local n = 0
local t = M.new{
    encode = function(x) return #x.readings end,
    send = function(k) n = n + k return true end,
    clock = function() return 0 end,
}
for i = 1, 11 do t:record('a', i) end
t:flush()
return n
