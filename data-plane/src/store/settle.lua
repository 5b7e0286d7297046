-- Gives back what was charged, where the ring still holds it, charges what it came to, and gives places back.
-- KEYS: the rings, then the sets of calls that run, then the budgets. ARGV: the numbers of rings and of sets, then slot that
-- was charged, seconds a slot, slots, cost and what it came to of each ring, then the call in each set, then how much more
-- than was charged it came to of each budget.
local now = now_s()
local rings, sets = tonumber(ARGV[1]), tonumber(ARGV[2])
for index = 1, rings do
  local at = 3 + 5 * (index - 1)
  local slot, cost, actual = tonumber(ARGV[at]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local ring = ring_load(KEYS[index], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), now)
  local is_held = ring.exists and slot <= ring.head and slot > ring.head - ring.slots
  if is_held then ring_give_back(ring, slot, cost) end
  if actual > 0 then ring_charge(ring, actual) end
  if is_held or actual > 0 then ring_store(ring) end
end
for index = 1, sets do
  redis.call('ZREM', KEYS[rings + index], ARGV[2 + 5 * rings + index])
end
for index = 1, #KEYS - rings - sets do
  budget_settle(KEYS[rings + sets + index], tonumber(ARGV[2 + 5 * rings + sets + index]))
end
return 1
