-- KEYS: the upstream session, those of its tenant by when they end, all sessions of its tenant by handle. ARGV: idle
-- seconds, the leg that it takes the place of (empty: none), leg, initialized, its name.
-- Answers with the one that is there already and is another one; it stays. Some that are over leave the lists.
local now = now_s()
local found = bridge_leg_load(KEYS[1], now)
if found and found[1] ~= ARGV[2] then return found end
local replaced = redis.call('HGET', KEYS[1], 'name')
if replaced then bridge_leg_unlist(KEYS[2], KEYS[3], replaced) end
for _, over in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 100)) do
  bridge_leg_unlist(KEYS[2], KEYS[3], over)
end
redis.call('UNLINK', KEYS[1])
local ends = now + tonumber(ARGV[1])
redis.call('HSET', KEYS[1], 'until', ends, 'leg', ARGV[3], 'initialized', ARGV[4], 'name', ARGV[5])
redis.call('EXPIRE', KEYS[1], ARGV[1])
bridge_leg_list(KEYS[2], KEYS[3], ARGV[5], ends)
return {}
