local M, need = ...
local l = {}
local log = M{write = function(s) l[#l + 1] = s end}
log.info('x%d', 1)
log.debug('no')
return #l .. l[1]:sub(-2)
