-- Says that a call goes on.
-- KEYS: the sets of calls that run. ARGV: the call, seconds.
local now = now_s()
for _, key in ipairs(KEYS) do
  places_take(key, ARGV[1], now, tonumber(ARGV[2]))
end
return 1
