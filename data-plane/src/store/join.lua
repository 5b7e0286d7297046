-- KEYS: a sorted set of members by when they are forgotten (seconds). ARGV: the member, seconds.
local now = now_s()
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
