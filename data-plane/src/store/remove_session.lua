-- KEYS: the session. Answers its fields, none when there is no such session.
local fields = session_load(KEYS[1], now_s())
redis.call('UNLINK', KEYS[1])
return fields or {}
