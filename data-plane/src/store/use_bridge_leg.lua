-- KEYS: the upstream session, those of its tenant by when they end, all sessions of its tenant by handle. ARGV: idle
-- seconds. Answers leg, initialized and level, and slides its end.
local found = bridge_leg_load(KEYS[1])
if not found then return {} end
bridge_leg_slide(KEYS[1], KEYS[2], KEYS[3], redis.call('HGET', KEYS[1], 'name'), tonumber(ARGV[1]))
return found
