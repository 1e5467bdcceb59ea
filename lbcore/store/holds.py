"""What a worker holds of keys that are counted in a store: so many at once over all instances. No I/O.

A key is a sorted set of places, each with the time by the store's clock until which it counts. A place has a name of
its own, so that a call that is sent twice, or comes late, counts once. Workers renew the places that they hold: those
of one that has died, or that a lost reply has left behind, count no more after LEASE_S; those that a store has lost
come back.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Callable
from itertools import islice

from lbcore.store.redis import Script, Store

PREFIX = b"inflight:"
LONGEST_SOURCE = 256  # bytes; of a longer one a hash counts
LEASE_S = 15.0  # that a place counts without being renewed
RENEW_S = LEASE_S / 3
MOST_PLACES = 65536  # of a worker at once; and as many that are still to be given back
BATCH = 500  # places that are renewed, or given back late, before other work has its turn
PAUSE_S = 0.02  # until the next batch

HOLD = Script(
    b"""
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local has = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not has and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
"""
)
"""Takes a place, unless as many are taken as there may be. Returns whether it is held."""

RELEASE = Script(b"return redis.call('ZREM', KEYS[1], unpack(ARGV))")
"""Gives places back. Returns how many of them were held."""

RENEW = Script(
    b"""
local clock = redis.call('TIME')
local ends = clock[1] * 1000 + math.floor(clock[2] / 1000) + tonumber(ARGV[1])
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], ends, ARGV[i]) end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return 1
"""
)
"""Has places count for longer, also such as the store does not know any more."""


def key_of(name: str, place: str, source: bytes) -> bytes:
    """The key of a source, of the middleware `name@provider` in front of a router or service."""
    if len(source) > LONGEST_SOURCE:
        source = hashlib.sha256(source).hexdigest().encode()
    return b"%b%b:%b:%b" % (PREFIX, name.encode(), place.encode(), source)


class Holds:
    """The places that one worker holds in one store. On the event loop."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._owner = os.urandom(9)
        self._named = 0
        self._asked = 0  # calls for places that are under way
        self._held: dict[bytes, tuple[bytes, float]] = {}  # key, and when it was said last; the oldest first
        self._owed: dict[bytes, tuple[bytes, float]] = {}  # key, and until when it may count there; the oldest first
        self._timer: asyncio.TimerHandle | None = None

    def ask(self, key: bytes, amount: int, done: Callable[[int | None], None]) -> bytes | None:
        """Ask for a place, if fewer than `amount` are held by all. Returns its name.

        None: the store is away, or this worker holds too many.

        done  called later, in any case: 1 = it is held, 0 = it is not, None = the store has failed.
        """
        if len(self._held) + self._asked >= MOST_PLACES:
            return None
        self._named += 1
        place = self._owner + self._named.to_bytes(6, "big")

        def told(result: int | None) -> None:
            self._asked -= 1
            if result:
                self._held[place] = (key, time.monotonic())
            elif result is None:  # it may be held there nevertheless
                self._owe(key, place)
            self._arm(RENEW_S)
            done(result)

        self._asked += 1
        if self.store.run(HOLD, key, (place, _ms(LEASE_S), b"%d" % amount), told) is None:
            self._asked -= 1
            return None
        return place

    def release(self, place: bytes) -> None:
        """Give a place back that is held."""
        key, _ = self._held.pop(place)
        self._give_back(key, [place])

    def _give_back(self, key: bytes, places: list[bytes]) -> bool:
        """Returns False if the store is away: it is told later."""

        def told(result: int | None) -> None:
            if result is None:
                for place in places:
                    self._owe(key, place)

        if self.store.run(RELEASE, key, tuple(places), told) is None:
            told(None)
            return False
        return True

    def _owe(self, key: bytes, place: bytes) -> None:
        """Have a place given back later, unless there are too many: its time ends without that, too."""
        if len(self._owed) < MOST_PLACES:
            self._owed[place] = (key, time.monotonic() + LEASE_S)
        self._arm(RENEW_S)

    def _arm(self, delay_s: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._sweep)

    def _sweep(self) -> None:
        """Give back what is owed, and renew what is held."""
        self._timer = None
        more = self._pay() and self._renew()
        if self._held or self._owed:
            self._arm(PAUSE_S if more else RENEW_S)

    def _pay(self) -> bool:
        """Give back places that are owed, of those that may still count. Returns False if the store is away."""
        now_s = time.monotonic()
        by_key: dict[bytes, list[bytes]] = {}
        for place, (key, until_s) in list(islice(self._owed.items(), BATCH)):
            del self._owed[place]
            if until_s > now_s:
                by_key.setdefault(key, []).append(place)
        keys = iter(by_key.items())
        if all(self._give_back(key, places) for key, places in keys):
            return True
        for key, places in keys:
            for place in places:
                self._owe(key, place)
        return False

    def _renew(self) -> bool:
        """Say again what is held, of what was not said for a while. Returns whether there is more to do."""
        now_s = time.monotonic()
        by_key: dict[bytes, list[bytes]] = {}
        for place, (key, said_s) in islice(self._held.items(), BATCH):
            if now_s - said_s < RENEW_S / 2:
                break
            by_key.setdefault(key, []).append(place)
        for key, places in by_key.items():
            if not self._say(key, places):
                return False
            for place in places:
                del self._held[place]
                self._held[place] = (key, now_s)
        return sum(map(len, by_key.values())) == BATCH or bool(self._owed)

    def _say(self, key: bytes, places: list[bytes]) -> bool:
        def told(result: int | None) -> None:
            for place in places:
                if place not in self._held:  # given back meanwhile, maybe before this call has come there
                    self._owe(key, place)

        return self.store.run(RENEW, key, (_ms(LEASE_S), *places), told) is not None


def _ms(seconds: float) -> bytes:
    return b"%d" % int(seconds * 1000)
