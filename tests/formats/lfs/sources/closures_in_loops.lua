local f = {}
for i = 1, 4 do f[#f + 1] = function() i = i + 1 return i end end
for k, v in pairs { 10 } do f[#f + 1] = function() return k + v end end
local n = 0
while n < 2 do n = n + 1 local m = n f[#f + 1] = function() return m end end
f[1]()
return f[1](), f[4](), f[5](), f[6](), f[7]()
