local M, need = ...
local out = {}
local c = M.new{id = 'x', send = function(s) out[#out + 1] = s end}
c:connect() c:feed('\32\2\0\0')
c:subscribe('a/+', function(topic, message) out[#out + 1] = topic .. message end)
c:feed('\48\7\0\3a/') c:feed('bhi')
return c.state .. #out .. out[#out]
