-- KEYS: the session. ARGV: the subscription's field, what the fields of all subscriptions begin with, most of them.
-- Answers 1 when it is subscribed, 0 when there is no room, -1 when there is no such session.
local fields = session_load(KEYS[1], now_s())
if not fields then return -1 end
local count = 0
for index = 1, #fields, 2 do
  if fields[index] == ARGV[1] then return 1 end
  if string.sub(fields[index], 1, #ARGV[2]) == ARGV[2] then count = count + 1 end
end
if count >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], '')
return 1
