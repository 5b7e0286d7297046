-- Loads the session that an admission belongs to, and keeps it from idling out. KEYS[1]: the session. ARGV[1]: its idle seconds.
local now, micros, named, given, shows = now_s(), 0, 1, 4, false
local fields, idle_until, ends = session_load(KEYS[1], now)
if not fields then return { 0, {}, {}, {}, {}, {}, {} } end
local slid = now + tonumber(ARGV[1])
if slid > idle_until then
  redis.call('HSET', KEYS[1], 'idle_until', slid)
  session_expire(KEYS[1], now, slid, ends)
end
