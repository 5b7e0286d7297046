-- The upstream session of a modern agent is a hash: `until` (seconds), `leg` (JSON), `initialized` (JSON), `level`.
-- Leg, initialized and level, or nothing when there is none (any more).
local function bridge_leg_load(key, now)
  local found = redis.call('HMGET', key, 'until', 'leg', 'initialized', 'level')
  if not found[1] or now >= tonumber(found[1]) then return nil end
  return { found[2], found[3], found[4] or '' }
end
