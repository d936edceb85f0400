local point = {}
point.__index = point
function point.new(x, y) return setmetatable({ x = x, y = y }, point) end
function point:add(other) return point.new(self.x + other.x, self.y + other.y) end
function point:__tostring() return "p" end
local sum = point.new(1, 2):add(point.new(3, 4)):add { x = 5, y = 6 }
return sum.x, sum.y, ("%d"):format(7), ("x"):rep(3)
