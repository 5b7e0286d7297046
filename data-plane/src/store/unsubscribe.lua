-- KEYS: the session. ARGV: the subscription's field. Answers 0 when there is no such session.
if not session_load(KEYS[1], now_s()) then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
