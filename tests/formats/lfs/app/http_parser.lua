local M, need = ...
local got
local p = M.new(function(r) got = r end)
p:feed('POST /a%20b?x=1&y=%32 HTTP/1.1\r\nContent-Length: 3\r\n\r') p:feed('\nabc')
return got.method .. got.path .. got.query.y .. got.body
