-- Tests every ring, every place and every budget and charges all or none. Before it goes `admit_in_session.lua` or
-- `admit_alone.lua`.
-- KEYS: the session where there is one, then the rings, then the sets of calls that run, then the budgets. ARGV, from
-- `given - 2` on: the numbers of rings and of sets; limit, seconds a slot, slots and cost of each ring; call, seconds and number
-- of places of each set; amount, what is known to be spent, cost and seconds of each budget.
-- Answers { 0 when the session is missing, else 1; its fields; per ring: remaining, reset, retry after, slot; per set: how
-- many run, whether it was full; per budget: what is spent, whether that was too much (1) or is not known (2); where it
-- refuses and shows what by, seconds and microseconds of the clock; the rings }.
local rings, sets = tonumber(ARGV[given - 2]), tonumber(ARGV[given - 1])
local charges, admitted = {}, true
for index = 1, rings do
  local at = given + 4 * (index - 1)
  local limit, cost = tonumber(ARGV[at]), tonumber(ARGV[at + 3])
  local ring = ring_load(KEYS[named + index], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), now)
  local excess = ring.sum + cost - limit
  charges[index] = { ring = ring, limit = limit, cost = cost, excess = excess }
  if excess > 0 then admitted = false end
end

local places = {}
for index = 1, sets do
  local at = given + 4 * rings + 3 * (index - 1)
  local key = KEYS[named + rings + index]
  local running = places_running(key, now)
  local full = running >= tonumber(ARGV[at + 2])
  places[index] = { key = key, call = ARGV[at], lasts = tonumber(ARGV[at + 1]), running = running, full = full }
  if full then admitted = false end
end

local spends = {}
for index = 1, #KEYS - named - rings - sets do
  local at = given + 4 * rings + 3 * sets + 4 * (index - 1)
  local key, cost = KEYS[named + rings + sets + index], tonumber(ARGV[at + 2])
  local spent, is_unknown = budget_spent(key, tonumber(ARGV[at + 1]))
  local fault = is_unknown and 2 or spent + cost > tonumber(ARGV[at]) and 1 or 0
  spends[index] = { key = key, spent = spent, cost = cost, lasts = tonumber(ARGV[at + 3]), fault = fault }
  if fault > 0 then admitted = false end
end

local states = {}
for _, charge in ipairs(charges) do
  local ring, retry_after = charge.ring, 0
  if admitted then
    ring_charge(ring, charge.cost)
    ring_store(ring)
  elseif charge.excess > 0 then
    retry_after = ring_wait_s(ring, charge.excess, now)
  end
  local excess = ring.sum + 1 - charge.limit
  states[#states + 1] = math.max(0, 1 - excess)
  states[#states + 1] = excess > 0 and ring_wait_s(ring, excess, now) or 0
  states[#states + 1] = retry_after
  states[#states + 1] = ring.head
end

local running = {}
for _, place in ipairs(places) do
  if admitted then
    places_take(place.key, place.call, now, place.lasts)
    place.running = place.running + 1
  end
  running[#running + 1] = place.running
  running[#running + 1] = place.full and 1 or 0
end

local spent = {}
for _, spend in ipairs(spends) do
  if admitted then
    budget_charge(spend.key, spend.spent, spend.cost, spend.lasts)
    spend.spent = spend.spent + spend.cost
  end
  spent[#spent + 1] = math.max(0, spend.spent)
  spent[#spent + 1] = spend.fault
end

local clock, shown = {}, {}
if shows and not admitted then
  clock = { now, micros }
  for index, charge in ipairs(charges) do shown[index] = ring_shown(charge.ring) end
end
return { 1, fields, states, running, spent, clock, shown }
