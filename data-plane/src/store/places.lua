-- The calls that run at once under a limit are a sorted set of call ids by when they are taken for lost (seconds), unless
-- whoever runs them says before that they go on.
local function places_running(key, now)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  return redis.call('ZCARD', key)
end

local function places_take(key, call, now, lasts_s)
  redis.call('ZADD', key, now + lasts_s, call)
  redis.call('EXPIRE', key, lasts_s)
end
