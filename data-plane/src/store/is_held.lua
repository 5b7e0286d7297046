-- KEYS: the mark. Answers whether it stands.
local stands_until = redis.call('GET', KEYS[1])
return stands_until and now_s() < tonumber(stands_until) and 1 or 0
