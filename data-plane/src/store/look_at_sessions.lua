-- KEYS: the sessions of a tenant by handle, then some of them. ARGV: what each of these is called there.
-- Answers the time and the fields of each. One that is gone is taken out there.
local found = {}
for index, member in ipairs(ARGV) do
  found[index] = redis.call('HGETALL', KEYS[index + 1])
  if #found[index] == 0 then redis.call('ZREM', KEYS[1], member) end
end
return { now_s(), found }
