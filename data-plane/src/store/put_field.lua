-- KEYS: the session. ARGV: field, value. Answers 0 when there is no such session.
if not session_load(KEYS[1], now_s()) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
