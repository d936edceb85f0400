local a, b, c = 1, nil, false
local r = {}
if not a
  and b then r[1] = 1 end
if (not
  b
) then r[2] = 2 end
if not (a
  ) or not c
  then r[3] = 3 end
local x = not b
  and
  a
  or c
while (not c
) do c = true end
return r[1], r[2], r[3], x, a ==
  1 and
  "yes"
