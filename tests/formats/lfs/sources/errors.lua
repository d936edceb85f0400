local ok, e = pcall(function() error({ code = 7 }) end)
local ok2, e2 = pcall(error, "plain", 0)
return ok, e.code, ok2, e2, select("#", pcall(function() end))
