-- KEYS: the mailbox. ARGV: the message, seconds that it waits, most messages, most bytes, the channel that wakes
-- readers, the mailbox's id. Answers the message's position, 0 when there is no room.
local now, mailbox = now_s(), KEYS[1]
local first, last, bytes = mailbox_load(mailbox, now)
if not first then
  redis.call('UNLINK', mailbox)
  -- Positions go on growing when a mailbox expired and is used again: more than a second's messages lie between.
  last, bytes = now * 1000000, 0
  first = last + 1
end
bytes = bytes + #ARGV[1]
if last - first + 2 > tonumber(ARGV[3]) or bytes > tonumber(ARGV[4]) then return 0 end
last = last + 1
redis.call('HSET', mailbox, 'until', now + tonumber(ARGV[2]), 'first', first, 'last', last, 'bytes', bytes, last, ARGV[1])
redis.call('EXPIRE', mailbox, ARGV[2])
redis.call('PUBLISH', ARGV[5], ARGV[6])
return last
