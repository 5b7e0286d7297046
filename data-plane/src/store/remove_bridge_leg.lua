-- KEYS: the upstream session, those of its tenant by when they end, all sessions of its tenant by handle. ARGV: its leg.
-- Answers 0 when it is another one by now, or gone.
local found = bridge_leg_load(KEYS[1])
if not found or found[1] ~= ARGV[1] then return 0 end
local name = redis.call('HGET', KEYS[1], 'name')
if name then bridge_leg_unlist(KEYS[2], KEYS[3], name) end
redis.call('UNLINK', KEYS[1])
return 1
