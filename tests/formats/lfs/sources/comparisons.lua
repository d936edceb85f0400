local a, b = 1, 2
return a < b, a <= b, a > b, a >= b, a == b, a ~= b, not (a < b), "a" < "b", #"abc" == 3, (a < b) == true
