"""The token bucket of `rateLimit` in a store: exact over all instances, by the store's clock. No I/O.

A bucket is a hash with the fields `last` (µs) and `tokens`, as Traefik writes it, so that instances of both share it.
"""

from __future__ import annotations

import hashlib
from math import ceil

from lbcore.store.redis import Script

PREFIX = b"rate:"
LONGEST_SOURCE = 256  # bytes; of a longer one a hash counts
LONGEST_S = 10 * 365 * 86400  # until a bucket is forgotten

TAKE = Script(
    b"""
local rate, burst, keep, longest = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local bucket = redis.call('HMGET', KEYS[1], 'last', 'tokens')
local last, tokens = tonumber(bucket[1]), tonumber(bucket[2])
if not last or not tokens then
  tokens = burst
elseif now > last then
  tokens = math.min(burst, tokens + (now - last) * rate)
else
  tokens = math.min(burst, tokens)
end
tokens = tokens - 1
local wait = 0
if tokens < 0 then
  wait = math.ceil(-tokens / rate)
end
if wait <= longest then
  redis.call('HSET', KEYS[1], 'last', string.format('%.0f', now), 'tokens', string.format('%.17g', tokens))
  redis.call('EXPIRE', KEYS[1], keep)
end
return wait
"""
)
"""Takes a token, unless the request had to wait for too long. Returns for how many µs it has to."""


def key_of(name: str, source: bytes) -> bytes:
    """The key of the bucket of a source, of the middleware `name@provider`."""
    if len(source) > LONGEST_SOURCE:
        source = hashlib.sha256(source).hexdigest().encode()
    return PREFIX + name.encode() + b":" + source


def parts_of(interval_ns: float, burst: int, longest_us: int) -> tuple[bytes, ...]:
    """The arguments of TAKE."""
    per_us = 1000 / interval_ns
    full_s = min(ceil(burst * interval_ns / 1e9) + 1, LONGEST_S)  # by then a bucket is full, and is as a new one
    return repr(per_us).encode(), b"%d" % burst, b"%d" % full_s, b"%d" % longest_us
