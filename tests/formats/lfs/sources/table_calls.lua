local function f(t) return function(s) return #t .. s end end
return f { 1, 2 } "a", f { f
  , f } [[b]], (f {
}) "c"
