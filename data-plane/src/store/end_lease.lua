-- KEYS: the lease. ARGV: who gives it back.
if redis.call('HGET', KEYS[1], 'by') == ARGV[1] then redis.call('UNLINK', KEYS[1]) end
return 1
