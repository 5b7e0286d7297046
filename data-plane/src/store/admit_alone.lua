-- An admission that belongs to no session.
local now, named, given, fields = now_s(), 0, 3, {}
