local M, need = ...
local e local b = M(function(kind) e = kind end)
b.edge(0, 0)
b.edge(1, 100)
b.tick(500)
return e
