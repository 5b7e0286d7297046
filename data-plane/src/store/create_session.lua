-- KEYS: the session. ARGV: idle seconds, life seconds, then fields and values.
local now = now_s()
local idle_until, ends = now + tonumber(ARGV[1]), now + tonumber(ARGV[2])
redis.call('HSET', KEYS[1], 'idle_until', idle_until, 'ends', ends, unpack(ARGV, 3))
session_expire(KEYS[1], now, idle_until, ends)
return 1
