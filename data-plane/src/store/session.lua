-- A session is a hash: `head` (JSON), `handle`, `idle_until` and `ends` (seconds), `log_level` where the agent set one, one field
-- `leg:<server>` (JSON) per server and one `sub:<server>:<uri>` per subscription, so that two data planes that add one
-- each lose neither. It stays for a while after it is over, so that its upstream sessions can be ended.
local SESSION_GRACE = 600

local function session_expire(key, now, idle_until, ends)
  redis.call('EXPIRE', key, math.min(idle_until, ends) - now + SESSION_GRACE)
end

-- The fields and values in turn, or false when the session is unknown or over.
local function session_load(key, now)
  local fields = redis.call('HGETALL', key)
  local idle_until, ends = 0, 0
  for index = 1, #fields, 2 do
    if fields[index] == 'idle_until' then idle_until = tonumber(fields[index + 1]) end
    if fields[index] == 'ends' then ends = tonumber(fields[index + 1]) end
  end
  if now >= idle_until or now >= ends then return false end
  return fields, idle_until, ends
end

-- Takes a session out of those of its tenant by handle, where it is called by its handle and its name.
local function session_unlist(list, key, name)
  local handle = redis.call('HGET', key, 'handle')
  if handle then redis.call('ZREM', list, handle .. ' ' .. name) end
end
