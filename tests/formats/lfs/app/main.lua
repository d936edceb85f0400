local M, need = ...
local sent = {}
local app = M{require = need, write = function() end, clock = function() return 0 end, read_settings = function() return 'name=n' end,
    send = function(s) sent[#sent + 1] = s end, temperature = function() return 21.5 end}
app.states:fire('up') app.client:feed('\32\2\0\0') app.tasks:step()
return #sent .. sent[2]:match('{.*}')
