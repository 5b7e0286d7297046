-- KEYS: what a tenant keeps, by when it was to end. ARGV: how many at most. Answers the names of that whose time may be
-- up.
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now_s(), 'LIMIT', 0, tonumber(ARGV[1]))
