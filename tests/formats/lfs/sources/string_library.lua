local words = {}
for w in ("the quick  brown fox"):gmatch("%a+") do words[#words + 1] = w:upper():sub(1, 3) end
return table.concat(words, "-"), ("%5.2f|%-4s|%04x"):format(3.14159, "ab", 255), ("hello"):find("l+"), ("a,b"):gsub(",", ";")
