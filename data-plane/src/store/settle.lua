-- Gives back what was charged, where the ring still holds it, charges what it came to, and gives places back.
-- KEYS: the rings, then the sets of calls that run. ARGV: the number of rings, then slot that was charged, seconds a slot,
-- slots, cost and what it came to of each ring, then the call in each set.
local now = now_s()
local rings = tonumber(ARGV[1])
for index = 1, rings do
  local at = 2 + 5 * (index - 1)
  local slot, cost, actual = tonumber(ARGV[at]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local ring = ring_load(KEYS[index], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), now)
  local is_held = ring.exists and slot <= ring.head and slot > ring.head - ring.slots
  if is_held then ring_give_back(ring, slot, cost) end
  if actual > 0 then ring_charge(ring, actual) end
  if is_held or actual > 0 then ring_store(ring) end
end
for index = rings + 1, #KEYS do
  redis.call('ZREM', KEYS[index], ARGV[2 + 5 * rings + index - rings - 1])
end
return 1
