-- KEYS: the upstream session. ARGV: its leg, the level. Does nothing when it is another one by now.
local found = bridge_leg_load(KEYS[1])
if found and found[1] == ARGV[1] then redis.call('HSET', KEYS[1], 'level', ARGV[2]) end
return 1
