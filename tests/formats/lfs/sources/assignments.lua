local a, b, c = 1
a, b = b, a
local t = { 1, 2 }
t[1], t[2], c = t[2], t[1]
x, y = 3, 4, 5
local r = x + y
x, y = nil, nil
return a, b, c, t[1], t[2], r
