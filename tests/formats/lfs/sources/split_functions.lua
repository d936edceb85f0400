local t = { inner = {} }
function t.inner.f(
  a,
  b
)
  return a
    - b
end
function t.inner:g(x) return self
  .f(x, 1)
end
function globalname()
  return 5

end
local result = t.inner:g(10) + globalname()
globalname = nil
return result
