local function id(...) return ... end
local x = id(
  1,
  2
)
local y = id(
)
local z = id{
  1, 2,
}[1]
local s = id"text"
local l = id[[
long
]]
id(id
)
return x, y, z, s, l, #id(
  id(
    "nested"
  )
)
