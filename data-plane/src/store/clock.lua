-- Seconds since the Unix epoch by the clock of the node that holds the keys, and the microseconds beyond: no data plane's
-- clock is asked.
local function now_exactly()
  local time = redis.call('TIME')
  return tonumber(time[1]), tonumber(time[2])
end

local function now_s()
  return (now_exactly())
end
