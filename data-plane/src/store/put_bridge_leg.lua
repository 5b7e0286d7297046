-- KEYS: the upstream session, those of its tenant by when they end, all sessions of its tenant by handle. ARGV: idle
-- seconds, the leg that it takes the place of (empty: none), leg, initialized, its name.
-- Answers with the one that is there already and is another one; it stays.
local found = bridge_leg_load(KEYS[1])
if found and found[1] ~= ARGV[2] then return found end
local replaced = redis.call('HGET', KEYS[1], 'name')
if replaced then bridge_leg_unlist(KEYS[2], KEYS[3], replaced) end
redis.call('UNLINK', KEYS[1])
redis.call('HSET', KEYS[1], 'leg', ARGV[3], 'initialized', ARGV[4], 'name', ARGV[5])
bridge_leg_slide(KEYS[1], KEYS[2], KEYS[3], ARGV[5], tonumber(ARGV[1]))
return {}
