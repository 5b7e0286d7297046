-- A mailbox is a hash: `until` (seconds), the positions of its `first` and `last` unread message, the `bytes` of all
-- unread ones, and one field for each, named by its position.
-- The three numbers, or nothing when there is no such mailbox (any more).
local function mailbox_load(key, now)
  local head = redis.call('HMGET', key, 'until', 'first', 'last', 'bytes')
  if not head[1] or now >= tonumber(head[1]) then return nil end
  return tonumber(head[2]), tonumber(head[3]), tonumber(head[4])
end
