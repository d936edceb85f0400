local M, need = ...
local r = M.new(2)
r:push(1)
r:push(2)
r:push(3)
return r:pop() .. r:pop() .. tostring(r:pop())
