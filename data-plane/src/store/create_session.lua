-- KEYS: the session, the sessions of its tenant by when they are to end, and by handle. ARGV: idle seconds, life seconds,
-- the session's name among them, its handle, then fields and values.
local now = now_s()
local idle_until, ends = now + tonumber(ARGV[1]), now + tonumber(ARGV[2])
redis.call('HSET', KEYS[1], 'idle_until', idle_until, 'ends', ends, 'handle', ARGV[4], unpack(ARGV, 5))
session_expire(KEYS[1], now, idle_until, ends)
redis.call('ZADD', KEYS[2], math.min(idle_until, ends), ARGV[3])
redis.call('ZADD', KEYS[3], 0, ARGV[4] .. ' ' .. ARGV[3])
redis.call('EXPIRE', KEYS[2], tonumber(ARGV[2]) + SESSION_GRACE)
redis.call('EXPIRE', KEYS[3], tonumber(ARGV[2]) + SESSION_GRACE)
return 1
