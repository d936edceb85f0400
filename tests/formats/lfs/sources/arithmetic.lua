local a, b = 7, 2
return a + b, a - b, a * b, a / b, a % b, a ^ b, -a, -a % b, 2 ^ -1, (a + b) * (a - b) / 2 - -3, 7 / 2, 1 .. 2 .. 3
