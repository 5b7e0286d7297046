-- KEYS: a sorted set of members by when they are forgotten (seconds). ARGV: the member. Answers how many are left.
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_s())
return redis.call('ZCARD', KEYS[1])
