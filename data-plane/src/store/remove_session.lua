-- KEYS: the session, the sessions of its tenant by handle. ARGV: the session's name among them.
-- Answers its fields, none when there is no such session.
local fields = session_load(KEYS[1], now_s())
session_unlist(KEYS[2], KEYS[1], ARGV[1])
redis.call('UNLINK', KEYS[1])
return fields or {}
