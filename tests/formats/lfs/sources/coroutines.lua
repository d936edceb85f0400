local co = coroutine.wrap(function(a)
  for i = 1, 3 do a = a + coroutine.yield(a * i) end
  return "end"
end)
return co(1), co(2), co(3), co(4)
