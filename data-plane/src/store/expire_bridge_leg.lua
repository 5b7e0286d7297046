-- KEYS: the upstream session, those of its tenant by when they end, all sessions of its tenant by handle. ARGV: its name.
-- Answers the leg of one whose time is up, which is forgotten by this; nothing when it goes on, or is gone already.
local found = redis.call('HMGET', KEYS[1], 'until', 'leg', 'name')
if found[3] == ARGV[1] and now_s() < tonumber(found[1]) then
  redis.call('ZADD', KEYS[2], found[1], ARGV[1])
  return ''
end
bridge_leg_unlist(KEYS[2], KEYS[3], ARGV[1])
if found[3] ~= ARGV[1] then return '' end
redis.call('UNLINK', KEYS[1])
return found[2]
