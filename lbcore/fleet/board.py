"""What instances write for each other in a store: what each of them says now, and the weights that hold for all.

All times are the store's: clocks of instances do not matter.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from lbcore.config.static.fleet import Fleet, FleetRedis
from lbcore.store.redis import Script, Settings, Store, StoreAway

MOST_SAID = 64  # of a kind by one instance; the rest is not told
MOST_WEIGHTS = 10_000  # in a store, and known here
MOST_AT_ONCE = 500  # weights that one call sets
MOST_WEIGHT = 1 << 30
MOST_REPLY = 16 << 20  # bytes, of what all say
LIVES = 5  # intervals after which an instance counts as gone that says nothing any more
LEAST_LIFE_S = 3.0
LONGEST_LEFT_S = 7 * 86400.0  # that a breaker of another instance stays open
NONE = b"-"  # in place of a weight: there is no override

_NOW = b"""
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""

EXCHANGE = Script(
    _NOW
    + b"""
local key, own, life = KEYS[1], ARGV[1], tonumber(ARGV[3])
local found, longest = {redis.call('HEXISTS', key, own)}, life
redis.call('HSET', key, own, string.format('%.0f %.0f ', now, life) .. ARGV[2])
local all = redis.call('HGETALL', key)
for i = 1, #all, 2 do
  local at, lives, text = string.match(all[i + 1], '^(%d+) (%d+) (.*)$')
  local age = at and math.abs(now - tonumber(at))
  lives = at and math.min(tonumber(lives), 600000)
  if not at or age > lives then
    redis.call('HDEL', key, all[i])
  elseif all[i] ~= own then
    found[#found + 1] = string.format('%.0f', age)
    found[#found + 1] = text
    longest = math.max(longest, lives)
  end
end
redis.call('PEXPIRE', key, string.format('%.0f', longest))
return found
""",
    any_reply=True,
)
"""Says something for so many ms. Returns whether the store had what was said before, and ages and texts of others."""

LEAVE = Script(b"return redis.call('HDEL', KEYS[1], ARGV[1])")

# Weights are a hash: by identity, which has a `|`, `stamp weight`; beside these `version`, the last stamp; `epoch`,
# another one whenever stamps have come that are older than that; `cut`, the last stamp of those that were dropped.
_MAKE_ROOM = b"""
local function make_room(key, most)
  if redis.call('HLEN', key) <= most + 2 then return 0 end
  local all, entries, shed = redis.call('HGETALL', key), {}, 0
  for i = 1, #all, 2 do
    local stamp, weight = string.match(all[i + 1], '^(%d+) (.*)$')
    if stamp and string.find(all[i], '|', 1, true) then
      entries[#entries + 1] = {all[i], tonumber(stamp), weight == '-' and 0 or 1}
    end
  end
  if #entries <= most then return 0 end
  table.sort(entries, function(a, b) if a[3] ~= b[3] then return a[3] < b[3] end return a[2] < b[2] end)
  local cut = tonumber(redis.call('HGET', key, 'cut')) or 0
  for i = 1, #entries - math.floor(most * 15 / 16) do
    redis.call('HDEL', key, entries[i][1])
    cut, shed = math.max(cut, entries[i][2]), shed + entries[i][3]
  end
  redis.call('HSET', key, 'cut', string.format('%.0f', cut))
  return shed
end
"""

SET = Script(
    _NOW
    + _MAKE_ROOM
    + b"""
local key = KEYS[1]
local version = tonumber(redis.call('HGET', key, 'version')) or 0
version = string.format('%.0f', math.max(version + 1, tonumber(ARGV[3]) + 1, now))
redis.call('HSETNX', key, 'epoch', ARGV[2])
redis.call('HSET', key, 'version', version)
for i = 4, #ARGV, 2 do redis.call('HSET', key, ARGV[i], version .. ' ' .. ARGV[i + 1]) end
return {version, make_room(key, tonumber(ARGV[1]))}
""",
    any_reply=True,
)
"""Sets weights, by identity. Returns their stamp, and how many others were dropped for want of room."""

RESTORE = Script(
    _MAKE_ROOM
    + b"""
local key, changed = KEYS[1], false
local version, cut = tonumber(redis.call('HGET', key, 'version')) or 0, tonumber(redis.call('HGET', key, 'cut')) or 0
for i = 3, #ARGV, 3 do
  local stamp = tonumber(ARGV[i + 1])
  local has = tonumber(string.match(redis.call('HGET', key, ARGV[i]) or '', '^(%d+) ')) or 0
  if stamp > has and stamp > cut then
    redis.call('HSET', key, ARGV[i], ARGV[i + 1] .. ' ' .. ARGV[i + 2])
    version, changed = math.max(version, stamp), true
  end
end
if not changed then return {0} end
redis.call('HSET', key, 'version', string.format('%.0f', version), 'epoch', ARGV[2])
return {make_room(key, tonumber(ARGV[1]))}
""",
    any_reply=True,
)
"""Brings back weights that the store has lost, but for newer ones. Returns how many were dropped for want of room."""

GET = Script(
    b"""
local key, since = KEYS[1], tonumber(ARGV[1])
local head = redis.call('HMGET', key, 'version', 'epoch', 'cut')
local version, epoch, cut = tonumber(head[1]) or 0, head[2] or '', tonumber(head[3]) or 0
local full = epoch ~= ARGV[2] or since < cut
local found = {string.format('%.0f', version), epoch, string.format('%.0f', cut), full and 1 or 0}
if full or version > since then
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local stamp, weight = string.match(all[i + 1], '^(%d+) (.*)$')
    if stamp and string.find(all[i], '|', 1, true) and (full or tonumber(stamp) > since) then
      found[#found + 1] = all[i]
      found[#found + 1] = stamp
      found[#found + 1] = weight
    end
  end
end
return found
""",
    any_reply=True,
)
"""What is newer than a stamp, or everything, if more may have changed than that: see `Weights`."""


@dataclass(slots=True)
class Said:
    """What an instance says.

    ejected   identities of servers that it has ejected because of what it has seen itself.
    breakers  for how many seconds circuit breakers stay open, by their middleware and place, likewise.
    shed      opinions that are not told for want of room.
    """

    ejected: list[str] = field(default_factory=list)
    breakers: dict[str, float] = field(default_factory=dict)
    shed: int = 0

    def text(self) -> bytes:
        return json.dumps({"ejected": self.ejected, "breakers": self.breakers}).encode()


def say(ejected: Iterable[str], breakers: Mapping[str, float]) -> Said:
    """What is said of these, within bounds."""
    servers, open_ = sorted(ejected), dict(sorted(breakers.items())[:MOST_SAID])
    return Said(servers[:MOST_SAID], open_, max(len(servers) - MOST_SAID, 0) + len(breakers) - len(open_))


def said_of(text: bytes, age_s: float) -> Said:
    """What another instance has said so long ago; what cannot be understood is nothing."""
    try:
        data: Any = json.loads(text)
        ejected = [str(each) for each in data["ejected"][:MOST_SAID]]
        left = {str(key): float(value) - age_s for key, value in list(data["breakers"].items())[:MOST_SAID]}
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return Said()
    return Said(ejected, {key: value for key, value in left.items() if 0 < value <= LONGEST_LEFT_S})


@dataclass(frozen=True, slots=True)
class Override:
    """The override of a weight. `stamp`: the later of two holds; `weight` None: it has ended."""

    stamp: int
    weight: int | None

    @property
    def text(self) -> bytes:
        return NONE if self.weight is None else b"%d" % self.weight


@dataclass(frozen=True, slots=True)
class Weights:
    """What a store has of weights.

    version, epoch  to be told when it is asked again.
    whole   whether `found` is everything that it has, and not what is new alone.
    cut     up to this stamp the store has dropped some for want of room.
    """

    version: int
    epoch: bytes
    cut: int
    whole: bool
    found: Mapping[str, Override]


def settings_of(redis: FleetRedis) -> Settings:
    wait_s = redis.max_wait.total_seconds()
    return Settings(
        endpoints=redis.addresses,
        username=redis.username,
        password=redis.password,
        db=redis.db,
        tls=None if redis.tls is None else redis.tls.server_tls(),
        most=1,
        least=1,
        dial_s=wait_s,
        read_s=wait_s,
        write_s=wait_s,
        wait_s=wait_s,
        most_reply=MOST_REPLY,
    )


def life_s(fleet: Fleet) -> float:
    """After which an instance counts as gone that says nothing any more."""
    return max(LIVES * fleet.interval.total_seconds(), LEAST_LIFE_S)


class Board:
    """The board of one fleet. Raises StoreAway for all calls, and ValueError for settings that cannot be used."""

    def __init__(self, fleet: Fleet, redis: FleetRedis, instance: bytes) -> None:
        self._store = Store(settings_of(redis))
        self._said = b"lbcore/fleet/%b" % fleet.name.encode()
        self._weights = self._said + b"/weights"
        self._instance = instance
        self._life_ms = b"%d" % int(life_s(fleet) * 1000)

    async def exchange(self, said: Said) -> tuple[bool, list[Said]]:
        """Say something. Returns whether the store still had what was said before, and what the others say."""
        reply = await self._ask(EXCHANGE, self._said, (self._instance, said.text(), self._life_ms))
        ages, texts = reply[1::2], reply[2::2]
        return bool(reply[0]), [said_of(text, int(age) / 1000) for age, text in zip(ages, texts, strict=True)]

    async def leave(self) -> None:
        """Say that this instance has gone."""
        await self._store.ask(LEAVE, self._said, (self._instance,))

    async def set_weights(self, weights: Mapping[str, int | None], known: int) -> tuple[int, int]:
        """Have overrides hold for all instances; None ends one. At most MOST_AT_ONCE.

        known  the last stamp that is known here: theirs is a later one.
        Returns their stamp, and how many others were dropped for want of room.
        """
        parts = [b"%d" % MOST_WEIGHTS, _another(), b"%d" % known]
        for identity, weight in weights.items():
            parts += [identity.encode(), Override(0, weight).text]
        stamp, shed = await self._ask(SET, self._weights, tuple(parts))
        return _number(stamp), _number(shed)

    async def restore(self, overrides: Mapping[str, Override]) -> int:
        """Bring back what the store has lost. Returns how many were dropped for want of room."""
        shed = 0
        left = iter(overrides.items())
        while some := list(islice(left, MOST_AT_ONCE)):
            parts = [b"%d" % MOST_WEIGHTS, _another()]
            for identity, override in some:
                parts += [identity.encode(), b"%d" % override.stamp, override.text]
            (dropped,) = await self._ask(RESTORE, self._weights, tuple(parts))
            shed += _number(dropped)
        return shed

    async def weights(self, since: int, epoch: bytes) -> Weights:
        """What has changed since a version."""
        reply = await self._ask(GET, self._weights, (b"%d" % since, epoch))
        version, now, cut, whole, *rest = reply
        found = {}
        for identity, stamp, weight in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
            if len(stamp) <= 15 and (weight == NONE or (weight.isdigit() and len(weight) <= 10)):
                value = None if weight == NONE else min(int(weight), MOST_WEIGHT)
                found[identity.decode("utf-8", "replace")] = Override(int(stamp), value)
        return Weights(_number(version), now, _number(cut), bool(whole), found)

    async def _ask(self, script: Script, key: bytes, parts: tuple[bytes, ...]) -> Any:
        reply = await self._store.ask(script, key, parts)
        if not isinstance(reply, list) or not reply:
            raise StoreAway(f"store redis: {reply!r} is no reply to a script")
        return reply

    def close(self) -> None:
        self._store.close()


def _another() -> bytes:
    """An epoch."""
    return os.urandom(8).hex().encode()


def _number(text: bytes | int) -> int:
    """A number that a script returns. Raises StoreAway."""
    if isinstance(text, bytes) and not (text.isdigit() and len(text) <= 15):
        raise StoreAway(f"store redis: {text[:40]!r} is no stamp")
    return int(text)
