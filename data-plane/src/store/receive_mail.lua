-- KEYS: the mailbox. ARGV: the position to read on after; what stands there and before is forgotten.
-- Answers { position, message } for each message.
local mailbox, after = KEYS[1], tonumber(ARGV[1])
local first, last, bytes = mailbox_load(mailbox, now_s())
if not first then return {} end
local kept = first
while kept <= last and kept <= after do
  bytes = bytes - redis.call('HSTRLEN', mailbox, kept)
  redis.call('HDEL', mailbox, kept)
  kept = kept + 1
end
if kept > first then redis.call('HSET', mailbox, 'first', kept, 'bytes', bytes) end
local mail = {}
for position = kept, last do
  mail[#mail + 1] = { position, redis.call('HGET', mailbox, position) }
end
return mail
