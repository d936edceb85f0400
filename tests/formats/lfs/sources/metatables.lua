local log = {}
local t = setmetatable({}, { __index = function(_, k) log[#log + 1] = k return k end, __call = function(_, x) return x * 2 end,
  __concat = function() return "joined" end, __len = function() return 9 end })
return t.foo, t(21), t .. "x", table.concat(log)
