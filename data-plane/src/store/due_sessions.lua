-- KEYS: the sessions of a tenant by when they were to end. ARGV: how many at most. Answers those whose time may be up.
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now_s(), 'LIMIT', 0, tonumber(ARGV[1]))
