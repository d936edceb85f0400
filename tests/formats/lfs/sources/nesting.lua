local function a(x)
  return function(y)
    local function b(z)
      return function() return x + y * z end
    end
    return b
  end
end
return a(1)(2)(3)()
