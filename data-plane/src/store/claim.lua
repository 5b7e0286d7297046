-- KEYS: the mark. ARGV: seconds for which it stands. Answers 0 when it stood already.
local now, stands_until = now_s(), redis.call('GET', KEYS[1])
if stands_until and now < tonumber(stands_until) then return 0 end
redis.call('SET', KEYS[1], now + tonumber(ARGV[1]), 'EX', ARGV[1])
return 1
