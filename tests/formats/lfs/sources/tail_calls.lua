local function loop(n, sum) if n == 0 then return sum end return loop(n - 1, sum + n) end
return loop(
  5000, 0
)
