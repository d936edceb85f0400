local M, need = ...
local s = M.new()
s:route('GET', '/led/:n', function(_, p) return 200, p.n end)
return s:handle({method = 'GET', path = '/led/7'}):sub(-1) .. s:handle({method = 'PUT', path = '/led/7'}):sub(10, 12)
