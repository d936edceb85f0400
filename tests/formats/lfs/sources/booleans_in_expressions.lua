local t = true
return t and 1 or 2, nil and 1, false or nil, ((1 or false) and true) or false, not nil == true, (nil == false) and 1 or 0
