local out = {}
for i = 10, 1, -3 do out[#out + 1] = i end
for i = 1, 0 do out[#out + 1] = "never" end
local i = 0
while true do
  i = i + 1
  if i == 2 then out[#out + 1] = "two" elseif i > 4 then break else out[#out + 1] = i end
end
do local i = "inner" out[#out + 1] = i end
repeat local k = i i = i - 1 until k < 3
return table.concat(out, ","), i
