-- The upstream session of a modern agent is a hash: `until` (seconds), `leg` (JSON), `initialized` (JSON), `level`, and its
-- `name` among the sessions of its tenant.
-- Leg, initialized and level, or nothing when there is none (any more).
local function bridge_leg_load(key, now)
  local found = redis.call('HMGET', key, 'until', 'leg', 'initialized', 'level')
  if not found[1] or now >= tonumber(found[1]) then return nil end
  return { found[2], found[3], found[4] or '' }
end

-- How long a tenant's lists of sessions outlive the last change of them, in seconds.
local LISTS_KEPT = 87000

-- Has it in the upstream sessions of its tenant by when they end, and in all sessions by handle.
local function bridge_leg_list(by_end, list, name, ends)
  redis.call('ZADD', by_end, ends, name)
  redis.call('ZADD', list, 0, name)
  redis.call('EXPIRE', by_end, LISTS_KEPT)
  redis.call('EXPIRE', list, LISTS_KEPT)
end

local function bridge_leg_unlist(by_end, list, name)
  redis.call('ZREM', by_end, name)
  redis.call('ZREM', list, name)
end
