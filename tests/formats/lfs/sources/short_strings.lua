local a, b = "", "x"
return a .. b .. "\0" .. 'quote"' .. "\65\066" .. "tab\t" .. "\
next"
