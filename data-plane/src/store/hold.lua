-- KEYS: the mark. ARGV: seconds for which it stands.
redis.call('SET', KEYS[1], now_s() + tonumber(ARGV[1]), 'EX', ARGV[1])
return 1
