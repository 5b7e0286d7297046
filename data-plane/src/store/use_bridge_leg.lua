-- KEYS: the upstream session. ARGV: idle seconds. Answers leg, initialized and level, and slides the expiry.
local now = now_s()
local found = bridge_leg_load(KEYS[1], now)
if not found then return {} end
redis.call('HSET', KEYS[1], 'until', now + tonumber(ARGV[1]))
redis.call('EXPIRE', KEYS[1], ARGV[1])
return found
