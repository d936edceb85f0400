return table.concat({tostring(nil), tostring(true), tostring(false), 1, -1, 0.5, 1e300, -0.25, 0x10, 1e-7, 2^53}, " ")
