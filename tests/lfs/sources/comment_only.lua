-- nothing
--[[ at
all ]]
