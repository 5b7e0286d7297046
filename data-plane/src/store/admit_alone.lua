-- An admission that belongs to no session. One that refuses shows its rings.
local now, micros = now_exactly()
local named, given, fields, shows = 0, 3, {}, true
