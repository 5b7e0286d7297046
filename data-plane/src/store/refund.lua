-- Gives back what was charged, where the ring still holds it.
-- KEYS: the rings. ARGV: slot that was charged, seconds a slot, slots and cost of each ring.
local now = now_s()
for index, key in ipairs(KEYS) do
  local at = 1 + 4 * (index - 1)
  local slot, cost = tonumber(ARGV[at]), tonumber(ARGV[at + 3])
  local ring = ring_load(key, tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), now)
  if ring.exists and slot <= ring.head and slot > ring.head - ring.slots then
    ring_add(ring, slot, 0 - cost)
    ring_store(ring)
  end
end
return 1
