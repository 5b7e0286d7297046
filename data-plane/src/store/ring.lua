-- A sliding window of counts, as ring.rs has it.
-- Value: '>I8' head slot, '>I4' seconds a slot, '>I4' slots, '>I8' sum of all counts, '>I4' count of the head's slot, then one
-- '>I4' count per slot; slot s is count s mod slots, and that of the head's slot is not the one that counts. So a charge
-- reads and writes the first bytes alone, but for the first one in a slot.
-- That one sets the expiry: a ring outlives its newest charge by at least the window. A refusal writes nothing: what has
-- left the window is dropped again at the next look.
local RING_HEADER = 28
local RING_FORMAT = '>I8I4I4I8I4'
local RING_COUNT_MAX = 4294967295

-- Every count, those that have left the window as zero.
local function ring_counts(ring)
  if ring.counts then return ring.counts end
  local raw = ring.exists and redis.call('GETRANGE', ring.key, RING_HEADER, -1) or ''
  local counts = {}
  if #raw == 4 * ring.slots then
    counts = { struct.unpack('>' .. string.rep('I4', ring.slots), raw) }
    -- unpack adds where it stopped reading.
    counts[ring.slots + 1] = nil
  else
    for index = 1, ring.slots do counts[index] = 0 end
  end
  counts[ring.stored_head % ring.slots + 1] = ring.count
  for step = 1, math.min(ring.head - ring.stored_head, ring.slots) do
    counts[(ring.head - step + 1) % ring.slots + 1] = 0
  end
  ring.counts = counts
  return counts
end

local function ring_load(key, slot_s, slots, now)
  local head, sum, count = (now - now % slot_s) / slot_s, 0, 0
  local stored_head, exists = head, false
  local raw = redis.call('GETRANGE', key, 0, RING_HEADER - 1)
  if #raw == RING_HEADER then
    local before, stored_slot_s, stored_slots, stored_sum, stored_count = struct.unpack(RING_FORMAT, raw)
    -- A ring with other slots belongs to a window that is no longer in force.
    if stored_slot_s == slot_s and stored_slots == slots then
      stored_head, exists, sum, count = before, true, stored_sum, stored_count
    end
  end
  -- After a failover the clock may be behind the ring; the ring never goes back.
  if head < stored_head then head = stored_head end
  local ring = {
    key = key, slot_s = slot_s, slots = slots, exists = exists, changed = false, counts = false,
    head = head, stored_head = stored_head, sum = sum, count = count,
  }
  if head > stored_head then
    local counts = ring_counts(ring)
    ring.sum, ring.count = 0, 0
    for index = 1, slots do ring.sum = ring.sum + counts[index] end
  end
  return ring
end

local function ring_store(ring)
  local header = struct.pack(RING_FORMAT, ring.head, ring.slot_s, ring.slots, ring.sum, ring.count)
  if ring.exists and ring.head == ring.stored_head and not ring.changed then
    redis.call('SETRANGE', ring.key, 0, header)
  else
    local counts = struct.pack('>' .. string.rep('I4', ring.slots), unpack(ring_counts(ring)))
    redis.call('SET', ring.key, header .. counts, 'EX', ring.slot_s * (ring.slots + 1))
  end
end

-- For who goes on counting it: '>I8' head slot, then one '>I4' count per slot.
local function ring_shown(ring)
  return struct.pack('>I8', ring.head) .. struct.pack('>' .. string.rep('I4', ring.slots), unpack(ring_counts(ring)))
end

-- Seconds until `excess` charges have left: from the oldest slot, which leaves when the next one begins.
local function ring_wait_s(ring, excess, now)
  local counts, steps = ring_counts(ring), ring.slots
  for step = 1, ring.slots - 1 do
    excess = excess - counts[(ring.head + step) % ring.slots + 1]
    if excess <= 0 then
      steps = step
      break
    end
  end
  return math.min((ring.head + steps) * ring.slot_s - now, ring.slots * ring.slot_s)
end

local function ring_bounded(count)
  return math.min(RING_COUNT_MAX, math.max(0, count))
end

-- Charges the head's slot.
local function ring_charge(ring, cost)
  local count = ring_bounded(ring.count + cost)
  ring.sum, ring.count = ring.sum + count - ring.count, count
end

-- Gives back what was charged in a slot, at most what that holds.
local function ring_give_back(ring, slot, cost)
  if slot == ring.head then return ring_charge(ring, 0 - cost) end
  local counts, index = ring_counts(ring), slot % ring.slots + 1
  local count = ring_bounded(counts[index] - cost)
  ring.sum, ring.changed = ring.sum + count - counts[index], true
  counts[index] = count
end
