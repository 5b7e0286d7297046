-- KEYS: the upstream session. ARGV: idle seconds, the leg that it takes the place of (empty: none), leg, initialized.
-- Answers with the one that is there already and is another one; it stays.
local now = now_s()
local found = bridge_leg_load(KEYS[1], now)
if found and found[1] ~= ARGV[2] then return found end
redis.call('UNLINK', KEYS[1])
redis.call('HSET', KEYS[1], 'until', now + tonumber(ARGV[1]), 'leg', ARGV[3], 'initialized', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[1])
return {}
