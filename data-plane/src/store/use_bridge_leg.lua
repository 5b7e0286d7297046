-- KEYS: the upstream session, those of its tenant by when they end, all sessions of its tenant by handle. ARGV: idle
-- seconds. Answers leg, initialized and level, and slides the expiry.
local now = now_s()
local found = bridge_leg_load(KEYS[1], now)
if not found then return {} end
local ends = now + tonumber(ARGV[1])
redis.call('HSET', KEYS[1], 'until', ends)
redis.call('EXPIRE', KEYS[1], ARGV[1])
local name = redis.call('HGET', KEYS[1], 'name')
if name then bridge_leg_list(KEYS[2], KEYS[3], name, ends) end
return found
