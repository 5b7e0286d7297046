-- The upstream session of a modern agent is a hash: `until` (seconds), `leg` (JSON), `initialized` (JSON), `level`, and its
-- `name` among the sessions of its tenant. From `until` on it may be ended; as long as nobody does, it is there.
local BRIDGE_LEG_GRACE = 600
-- How long a tenant's lists of sessions outlive the last change of them, in seconds.
local LISTS_KEPT = 87000

-- Leg, initialized and level, or nothing when there is none (any more).
local function bridge_leg_load(key)
  local found = redis.call('HMGET', key, 'leg', 'initialized', 'level')
  if not found[1] then return nil end
  return { found[1], found[2], found[3] or '' }
end

-- Has it in the upstream sessions of its tenant by when they end, and in all sessions by handle; lets it end when it is not
-- used for so many seconds.
local function bridge_leg_slide(key, by_end, list, name, idle_s)
  local ends = now_s() + idle_s
  redis.call('HSET', key, 'until', ends)
  redis.call('EXPIRE', key, idle_s + BRIDGE_LEG_GRACE)
  redis.call('ZADD', by_end, ends, name)
  redis.call('ZADD', list, 0, name)
  redis.call('EXPIRE', by_end, LISTS_KEPT)
  redis.call('EXPIRE', list, LISTS_KEPT)
end

local function bridge_leg_unlist(by_end, list, name)
  redis.call('ZREM', by_end, name)
  redis.call('ZREM', list, name)
end
