-- Seconds since the Unix epoch by the clock of the node that holds the keys: no data plane's clock is asked.
local function now_s()
  return tonumber(redis.call('TIME')[1])
end
