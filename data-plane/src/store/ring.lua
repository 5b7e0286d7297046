-- A sliding window of counts, as ring.rs has it.
-- Value: '>I8' head slot, '>I4' seconds a slot, then one '>I4' count per slot; slot s is count s mod slots.
-- Every write sets the expiry, so that a ring outlives its newest charge by at least the window. A refusal writes
-- nothing: what has left the window is dropped again at the next look.
local RING_HEADER = 12
local RING_COUNT_MAX = 4294967295

local function ring_load(key, slot_s, slots, now)
  local ring = { key = key, slot_s = slot_s, slots = slots, head = math.floor(now / slot_s), exists = false }
  local raw = redis.call('GET', key)
  -- A ring with other slots belongs to a window that is no longer in force.
  if raw and #raw == RING_HEADER + 4 * slots and struct.unpack('>I4', raw, 9) == slot_s then
    local stored_head = struct.unpack('>I8', raw, 1)
    ring.exists = true
    ring.counts = { struct.unpack('>' .. string.rep('I4', slots), raw, RING_HEADER + 1) }
    -- unpack adds where it stopped reading.
    ring.counts[slots + 1] = nil
    -- After a failover the clock may be behind the ring; the ring never goes back.
    ring.head = math.max(ring.head, stored_head)
    for step = 1, math.min(ring.head - stored_head, slots) do
      ring.counts[(ring.head - step + 1) % slots + 1] = 0
    end
  else
    ring.counts = {}
    for index = 1, slots do ring.counts[index] = 0 end
  end
  ring.sum = 0
  for index = 1, slots do ring.sum = ring.sum + ring.counts[index] end
  return ring
end

local function ring_store(ring)
  local raw = struct.pack('>I8I4' .. string.rep('I4', ring.slots), ring.head, ring.slot_s, unpack(ring.counts))
  redis.call('SET', ring.key, raw, 'EX', ring.slot_s * (ring.slots + 1))
end

-- Seconds until `excess` charges have left: from the oldest slot, which leaves when the next one begins.
local function ring_wait_s(ring, excess, now)
  local steps = ring.slots
  for step = 1, ring.slots - 1 do
    excess = excess - ring.counts[(ring.head + step) % ring.slots + 1]
    if excess <= 0 then
      steps = step
      break
    end
  end
  return math.min((ring.head + steps) * ring.slot_s - now, ring.slots * ring.slot_s)
end

local function ring_add(ring, slot, cost)
  local index = slot % ring.slots + 1
  local before = ring.counts[index]
  ring.counts[index] = math.min(RING_COUNT_MAX, math.max(0, before + cost))
  ring.sum = ring.sum + ring.counts[index] - before
end
