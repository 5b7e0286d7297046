-- KEYS: the lease, a hash: `by`, `until` (seconds). ARGV: who wants it, seconds. Answers 0 when another one has it.
local now = now_s()
local found = redis.call('HMGET', KEYS[1], 'by', 'until')
if found[1] and found[1] ~= ARGV[1] and now < tonumber(found[2]) then return 0 end
redis.call('HSET', KEYS[1], 'by', ARGV[1], 'until', now + tonumber(ARGV[2]))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
