"""What runs inside Redis, whole or not at all."""

import hashlib
from typing import Final

KEEP: Final = """
local kept = 0
local function is_older(new, held)
  if #held < 18 or string.byte(held, 1) ~= string.byte(new, 1) then return false end
  for at = 2, 17 do
    local one, other = string.byte(new, at), string.byte(held, at)
    if one ~= other then return one < other end
  end
  return false
end
for number, key in ipairs(KEYS) do
  local at = 4 * number - 3
  local value, ttl, ring, open = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3]
  if ring == 0 then
    local held = redis.call('GET', key)
    if not held or not is_older(value, held) then
      redis.call('SET', key, value, 'PX', ttl)
      kept = kept + 1
    end
  else
    local held = redis.call('ZRANGEBYSCORE', key, open, open)
    if not held[1] or not is_older(value, held[1]) then
      if held[1] then redis.call('ZREMRANGEBYSCORE', key, open, open) end
      redis.call('ZADD', key, open, value)
      redis.call('ZREMRANGEBYRANK', key, 0, -ring - 1)
      redis.call('PEXPIRE', key, ttl)
    end
  end
end
return kept
"""
"""Keeps values that are not older than what is held; four arguments a key.

Value, milliseconds to live, length of the ring (0: the key is a latest value), open of the candle.
Bytes are compared one by one: the server compares text by its locale. Returns how many latest
values were kept; those of a ring are not counted.
"""

SWAP: Final = """
local held = redis.call('GET', KEYS[1]) or ''
local time = redis.call('TIME')
if string.sub(held, 1, 8) ~= ARGV[1] then return {0, held, time[1], time[2]} end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return {1, ARGV[2], time[1], time[2]}
"""
"""Puts a value in place of the one with this stamp, and tells the server's time."""


def digest_of(script: str) -> str:
    """Return the name the server knows a script by."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
