local M, need = ...
local s = M.new(3)
for _, x in ipairs{4, 2, 9, 1} do s:add(x) end
return s.mean .. ' ' .. s:median()
