return ({ { 1, { 2, { x = { 3, [10] = "ten", ["key with space"] = { } } } } }, n = 1; 5 })[1][2][2].x[10]
