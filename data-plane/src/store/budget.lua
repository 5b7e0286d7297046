-- What is spent of a budget in one period, in its units: a whole number below 2^53, which Lua's numbers hold exactly.
local BUDGET_SPENT_MAX = 2 ^ 52

-- What was counted here or is known of the ledger, whichever is more; and whether neither is known. `known` below zero:
-- nobody has heard of the ledger.
local function budget_spent(key, known)
  local counted = redis.call('GET', key)
  return math.max(tonumber(counted or 0), known), not counted and known < 0
end

local function budget_text(spent)
  return string.format('%.0f', math.min(BUDGET_SPENT_MAX, math.max(0, spent)))
end

local function budget_charge(key, spent, cost, lasts_s)
  redis.call('SET', key, budget_text(spent + cost), 'EX', lasts_s)
end

-- What is not counted here any more the ledger has, or will have.
local function budget_settle(key, difference)
  local counted = redis.call('GET', key)
  if counted then redis.call('SET', key, budget_text(tonumber(counted) + difference), 'KEEPTTL') end
end
