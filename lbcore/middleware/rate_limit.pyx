"""rateLimit: a token bucket for each source, exact over all workers. No I/O.

A bucket is one number: the time at which it was, or will be, empty. A request moves it by the interval between two requests, and it
never lies further back than a whole burst. What is ahead of now is the time that the request has to wait.
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
from lbcore.state.holdings cimport Group
from lbcore.state.layout cimport KEYED_ROWS, KeyedRow

cdef enum:
    FRACTIONS = 32             # bits of a bucket's time below 1 ns
    NEW = 0                    # `KeyedRow.reserve` of a new row; else 1 << FRACTIONS, and the fraction

cdef uint64_t SEEN = <uint64_t>1 << FRACTIONS
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
cdef class RateLimit(Middleware):
    """The `rateLimit` middleware of Traefik. Requests for which the table of keys has no room pass, which is counted there."""

    cdef Source source
    cdef Group group
    cdef int64_t interval_ns           # between two requests, rounded down; and
    cdef uint64_t interval_fraction    # the rest, in 2^-32 ns
    cdef int64_t burst_ns              # what a full bucket holds
    cdef int64_t most_delay_ns         # a request that had to wait longer is refused
    cdef bint limits

    def __init__(self, str name, config):
        cdef double interval_ns = config.interval_ns, rate
        if interval_ns < 0:
            raise ValueError(f"negative value not valid for period: {config.period}")
        self.name = name
        self.source = Source(config.source_criterion)
        self.limits = interval_ns > 0
        if self.limits:
            interval_ns = min(interval_ns, LONGEST_NS)
            self.interval_ns = <int64_t>interval_ns
            self.interval_fraction = <uint64_t>((interval_ns - <int64_t>interval_ns) * SEEN)
            self.burst_ns = <int64_t>min(interval_ns * <double>max(config.burst, 1), LONGEST_NS)
            rate = min(1e9 / interval_ns, 1e9)  # above it there is no delay that could be told
            self.most_delay_ns = 1000000000 // (2 * <int64_t>rate) if rate >= 1 else 500000000

    def keep_in(self, state):
        self.group = state.group(f"rateLimit|{self.name}")

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef int64_t delay_ns, delay_ms
        if not self.limits:
            return PASS
        delay_ns = self.take(request, context)
        if delay_ns > self.most_delay_ns:
            return self.refuse(answer, delay_ns)
        delay_ms = (delay_ns + 500000) // 1000000
        if delay_ms <= 0:
            return PASS
        context.wait(Pending.__new__(Pending), delay_ms)
        return WAIT

    def state_at(self, str place, Request request):
        cdef Group group
        cdef KeyedRow* row
        cdef uint8_t key[16]
        cdef int64_t now_ns = monotonic_ns(), sources = 0, empty = 0
        cdef double left
        cdef int i
        if not self.limits:
            return None
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
        left = <double>self.burst_ns
        if row.reserve != NEW:
            left = min(left, max(<double>0, <double>(now_ns - row.value)))
        source = self.source.text_of(request).decode("latin-1")
        return {"left": round(left / self.interval(), 2), "burst": round(self.burst_ns / self.interval()), "source": source}

    cdef double interval(self) noexcept:
        return self.interval_ns + <double>self.interval_fraction / SEEN

    cdef int64_t take(self, Request request, Context context) except -1:
        """Take a token of the request's source. Returns how long the request has to wait for it; one that waits too long takes none."""
        cdef Group group = self.group.part(context.place())
        cdef uint8_t key[16]
        cdef uint64_t now_ns = context.now_ns(), fraction
        cdef int64_t least_ns = <int64_t>now_ns - self.burst_ns, empty_ns, delay_ns = 0
        cdef KeyedRow* row
        cdef bint locked
        self.source.key_of(request, group, key)
        locked = group.table.lock()
        row = group.take(key, now_ns)
        if row != NULL:
            empty_ns, fraction = row.value, row.reserve & (SEEN - 1)
            if row.reserve == NEW or empty_ns < least_ns:
                empty_ns, fraction = least_ns, 0
            fraction += self.interval_fraction
            empty_ns += self.interval_ns + <int64_t>(fraction >> FRACTIONS)
            delay_ns = empty_ns - <int64_t>now_ns
            if delay_ns <= self.most_delay_ns:
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
        return PASS
