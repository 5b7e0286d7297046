-- What rings hold and how many calls run. Charges nothing, and drops nothing.
-- KEYS: the store's id, then the rings, then the sets of calls that run. ARGV: its id where it has none yet, seconds for which
-- it is kept, the number of rings; then seconds a slot and slots of each ring.
-- Answers the store's id; the sum of each ring; how many run of each set.
local now, rings = now_s(), tonumber(ARGV[3])
redis.call('SET', KEYS[1], ARGV[1], 'NX')
redis.call('EXPIRE', KEYS[1], ARGV[2])

local sums = {}
for index = 1, rings do
  local at = 4 + 2 * (index - 1)
  sums[index] = ring_load(KEYS[1 + index], tonumber(ARGV[at]), tonumber(ARGV[at + 1]), now).sum
end

local running = {}
for index = 1, #KEYS - 1 - rings do
  running[index] = redis.call('ZCOUNT', KEYS[1 + rings + index], '(' .. now, '+inf')
end
return { redis.call('GET', KEYS[1]), sums, running }
