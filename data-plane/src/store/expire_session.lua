-- KEYS: the session, the sessions of its tenant by when they were to end, and by handle. ARGV: the session's name among
-- them. Answers the fields of a session that is over, which is forgotten by this; none when it goes on, or is gone
-- already.
local now = now_s()
local fields = redis.call('HGETALL', KEYS[1])
if #fields == 0 then
  redis.call('ZREM', KEYS[2], ARGV[1])
  return {}
end
local live, idle_until, ends = session_load(KEYS[1], now)
if live then
  redis.call('ZADD', KEYS[2], math.min(idle_until, ends), ARGV[1])
  return {}
end
session_unlist(KEYS[3], KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('UNLINK', KEYS[1])
return fields
