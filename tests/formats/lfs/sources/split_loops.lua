local n = 0
for i = 1,
  10,
  3
do
  n = n + i
end
for k, v
  in
  pairs(
    { 5, 6 }
  ) do n = n + k * v
  end
while n <
  100 do
  n = n
    + 7
end
repeat
  local done = n > 200
  n = n + 50
until
  done
return n
