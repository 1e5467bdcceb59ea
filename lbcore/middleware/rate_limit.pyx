"""rateLimit: a token bucket for each source, exact over all workers, or over all instances that share a store. No I/O.

A bucket is one number: the time at which it was, or will be, empty. A request moves it by the interval between two requests, and it
never lies further back than a whole burst. What is ahead of now is the time that the request has to wait.

With `fleetWide` each instance has its part of the rate, by the number of those that live.

With a store the bucket lies there, and the request waits for the reply of a script, for a bounded time. While the store is away the
bucket of this instance counts, for its part of the rate, or none: as it is configured.
"""

from math import ceil
from time import monotonic_ns

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport span_of
from lbcore.middleware.base cimport ANSWER, PASS, WAIT, Context, Middleware, Pending
from lbcore.middleware.source cimport Source
from lbcore.state.holdings cimport Group, State
from lbcore.state.layout cimport KEYED_ROWS, KeyedRow

from lbcore.config.units import milliseconds
from lbcore.store.bucket import TAKE, key_of, parts_of
from lbcore.store.redis import Settings, Store

cdef enum:
    FRACTIONS = 32             # bits of a bucket's time below 1 ns
    NEW = 0                    # `KeyedRow.reserve` of a new row; else 1 << FRACTIONS, and the fraction

cdef uint64_t SEEN = <uint64_t>1 << FRACTIONS
cdef int64_t HALF_SECOND_NS = 500000000
cdef double LONGEST_NS = 4e18  # of a burst; more is as good as no limit
cdef bytes TOO_MANY = b"Too Many Requests"


def delay_text(int64_t delay_ns) -> str:
    """A duration as Go writes it: `1m2.5s`, `12.5ms`, `800ns`."""
    for unit, name in ((1, "ns"), (1000, "µs"), (1000000, "ms")):
        if delay_ns < unit * 1000:
            return f"{f'{delay_ns / unit:.6f}'.rstrip('0').rstrip('.')}{name}"
    minutes, rest = divmod(delay_ns, 60_000_000_000)
    text = f"{rest // 1_000_000_000}.{rest % 1_000_000_000:09d}".rstrip("0").rstrip(".") + "s"
    if not minutes:
        return text
    return (f"{minutes // 60}h" if minutes >= 60 else "") + f"{minutes % 60}m" + text


@cython.final
cdef class Asked(Pending):
    """A request that waits for what the store says of its bucket."""

    cdef object call           # under way at the store; None: it is done
    cdef int64_t delay_us      # that the request has to wait; -1: the store has failed

    cdef int cancel(self) except -1:
        self.call.forget()
        return 0

    cdef int expire(self) except -1:
        self.call.forget()
        return Pending.expire(self)

    def take(self, result) -> None:
        """The store has replied, or failed."""
        if result is not None:
            self.delay_us = result
        self.settle()


@cython.final
cdef class RateLimit(Middleware):
    """The `rateLimit` middleware of Traefik. Requests for which the table of keys has no room pass, which is counted there."""

    cdef Source source
    cdef State state
    cdef object store                  # Store; None: the buckets lie in this instance
    cdef object settings               # of the store
    cdef tuple parts                   # arguments of its script
    cdef str when_away                 # local, pass or refuse
    cdef int64_t most_wait_ms          # for the store
    cdef Group group
    cdef int64_t interval_ns           # between two requests, rounded down; and
    cdef uint64_t interval_fraction    # the rest, in 2^-32 ns
    cdef int64_t burst_ns              # what a full bucket holds
    cdef int64_t most_delay_ns         # a request that had to wait longer is refused
    cdef bint limits
    cdef bint divides                  # the limit is that of all instances

    def __init__(self, str name, config):
        cdef double interval_ns = config.interval_ns, rate
        if interval_ns < 0:
            raise ValueError(f"negative value not valid for period: {config.period}")
        self.name = name
        self.source = Source(config.source_criterion)
        self.limits = interval_ns > 0
        self.divides = config.fleet_wide or config.redis is not None
        if self.limits:
            interval_ns = min(interval_ns, LONGEST_NS)
            self.interval_ns = <int64_t>interval_ns
            self.interval_fraction = <uint64_t>((interval_ns - <int64_t>interval_ns) * SEEN)
            self.burst_ns = <int64_t>min(interval_ns * <double>max(config.burst, 1), LONGEST_NS)
            rate = min(1e9 / interval_ns, 1e9)  # above it there is no delay that could be told
            self.most_delay_ns = 1000000000 // (2 * <int64_t>rate) if rate >= 1 else 500000000
        if self.limits and config.redis is not None:
            self.when_away = config.redis.when_away
            self.most_wait_ms = milliseconds(config.redis.max_wait)
            self.settings = settings_of(config.redis)
            self.parts = parts_of(interval_ns, min(max(config.burst, 1), 1 << 53), self.most_delay_ns // 1000)

    def keep_in(self, State state):
        self.state = state
        self.group = state.group(f"rateLimit|{self.name}")
        if self.settings is not None:
            settings = self.settings.share(state.workers)
            self.store = state.keep(settings.identity, lambda: Store(settings))

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        if not self.limits:
            return PASS
        if self.store is not None:
            return self.ask(request, answer, context)
        return self.follow(answer, context, self.take(request, context), self.most_delay(self.instances()))

    cdef int64_t instances(self) noexcept:
        """How many instances have a part of the limit."""
        return self.state.instances() if self.divides else 1

    cdef int64_t most_delay(self, int64_t instances) noexcept:
        """The longest time that a request may wait for a token of one of so many instances."""
        return self.most_delay_ns if instances == 1 else min(self.most_delay_ns * instances, HALF_SECOND_NS)

    cdef int follow(self, Response answer, Context context, int64_t delay_ns, int64_t most_delay_ns) except -1:
        """Pass, wait or refuse, by the time that a request has to wait for its token."""
        cdef int64_t delay_ms = (delay_ns + 500000) // 1000000
        if delay_ns > most_delay_ns:
            return self.refuse(answer, delay_ns)
        if delay_ms <= 0:
            return PASS
        context.wait(Pending.__new__(Pending), delay_ms)
        return WAIT

    cdef int ask(self, Request request, Response answer, Context context) except -1:
        """Have the request wait for the store, unless that is away."""
        cdef Asked asked = Asked.__new__(Asked)
        asked.delay_us = -1
        asked.call = self.store.run(TAKE, key_of(self.name, self.source.text_of(request)), self.parts, asked.take)
        if asked.call is None:
            return self.do_without(request, answer, context)
        context.wait(asked, self.most_wait_ms)
        return WAIT

    cdef int do_without(self, Request request, Response answer, Context context) except -1:
        """The store says nothing about a request, which is counted."""
        self.state.count_missed_store()
        if self.when_away == "local":
            return self.follow(answer, context, self.take(request, context), self.most_delay(self.instances()))
        if self.when_away == "pass":
            return PASS
        answer.status = 503
        answer.append(span_of(b"Retry-After", 11), span_of(b"1", 1))
        answer.text = span_of(b"Service Unavailable", 19)
        return ANSWER

    def state_at(self, str place, Request request):
        cdef Group group
        cdef KeyedRow* row
        cdef uint8_t key[16]
        cdef int64_t now_ns = monotonic_ns(), sources = 0, empty = 0
        cdef double left, interval_ns = self.interval() * self.instances(), burst_ns = max(<double>self.burst_ns, interval_ns)
        cdef int i
        if not self.limits:
            return None
        if self.store is not None:             # which is not asked for this
            found = {"store": "redis"}
            if request is not None:
                found["source"] = self.source.text_of(request).decode("latin-1")
            return found
        group = self.group.part(place)
        if request is None:
            row = group.table.region.keyed_rows(group.table.region.workers)
            for i in range(KEYED_ROWS if group.table.shared_rows else 0):
                if row[i].used and row[i].group == group.number:
                    sources += 1
                    empty += row[i].value > now_ns
            return {"sources": sources, "empty": empty}
        self.source.key_of(request, group, key)
        row = group.table.find(group.table.region.workers, group.number, key)
        left = burst_ns
        if row.reserve != NEW:
            left = min(left, max(<double>0, <double>(now_ns - row.value)))
        source = self.source.text_of(request).decode("latin-1")
        return {"left": round(left / interval_ns, 2), "burst": round(burst_ns / interval_ns), "source": source}

    cdef double interval(self) noexcept:
        return self.interval_ns + <double>self.interval_fraction / SEEN

    cdef int64_t take(self, Request request, Context context) except -1:
        """Take a token of the request's source. Returns how long the request has to wait for it; one that waits too long takes none."""
        cdef Group group = self.group.part(context.place())
        cdef uint8_t key[16]
        cdef uint64_t now_ns = context.now_ns(), fraction
        cdef int64_t instances = self.instances(), interval_ns = self.interval_ns, burst_ns = self.burst_ns
        cdef int64_t least_ns, empty_ns, delay_ns = 0
        cdef KeyedRow* row
        cdef bint locked
        if instances > 1:
            interval_ns = <int64_t>min(<double>interval_ns * instances, LONGEST_NS)
            burst_ns = max(burst_ns, interval_ns)      # the same time as before, with a part of the tokens, but of one at least
        least_ns = <int64_t>now_ns - burst_ns
        self.source.key_of(request, group, key)
        locked = group.table.lock()
        row = group.take(key, now_ns)
        if row != NULL:
            empty_ns, fraction = row.value, row.reserve & (SEEN - 1)
            if row.reserve == NEW or empty_ns < least_ns:
                empty_ns, fraction = least_ns, 0
            fraction += self.interval_fraction * <uint64_t>instances
            empty_ns += interval_ns + <int64_t>(fraction >> FRACTIONS)
            delay_ns = empty_ns - <int64_t>now_ns
            if delay_ns <= self.most_delay(instances):
                row.value = empty_ns
                row.reserve = SEEN | (fraction & (SEEN - 1))
        group.table.unlock(locked)
        return delay_ns if delay_ns > 0 else 0

    cdef int refuse(self, Response answer, int64_t delay_ns) except -1:
        cdef bytes text = str(ceil(delay_ns / 1e9)).encode()
        answer.status = 429
        answer.append(span_of(b"Retry-After", 11), answer.keep(span_of(text, len(text))))
        text = delay_text(delay_ns).encode()
        answer.append(span_of(b"X-Retry-In", 10), answer.keep(span_of(text, len(text))))
        answer.text = span_of(TOO_MANY, len(TOO_MANY))
        return ANSWER

    cdef int on_settled(self, Request request, Response answer, Context context, Pending pending) except -1:
        cdef Asked asked
        if not isinstance(pending, Asked):
            return PASS                        # the time is over
        asked = <Asked>pending
        if asked.expired or asked.delay_us < 0:
            return self.do_without(request, answer, context)
        return self.follow(answer, context, asked.delay_us * 1000, self.most_delay_ns)


def settings_of(redis):
    """The settings of the store. Raises ValueError for those that cannot be used."""
    dial_s = redis.dial_timeout.total_seconds()
    return Settings(
        endpoints=redis.addresses,
        username=redis.username,
        password=redis.password,
        db=redis.db,
        tls=None if redis.tls is None else redis.tls.server_tls(),
        most=min(redis.pool_size or redis.max_active_conns, redis.max_active_conns or redis.pool_size),
        least=redis.min_idle_conns,
        dial_s=dial_s if dial_s > 0 else 5.0,
        read_s=max(redis.read_timeout.total_seconds(), 0.0),
        write_s=max(redis.write_timeout.total_seconds(), 0.0),
        wait_s=redis.max_wait.total_seconds(),
    )
