local counters = {}
for i = 1, 3 do
  local n = 0
  counters[i] = function() n = n + i return n end
end
counters[1]() counters[3]()
return counters[1](), counters[2](), counters[3]()
