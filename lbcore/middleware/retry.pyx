"""retry: how many attempts a request has, after what, and when. No I/O."""

import random

cimport cython
from libc.stdint cimport int64_t, uint64_t

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_bytes, span_eq
from lbcore.middleware.base cimport PASS, Context, Middleware, Tries
from lbcore.middleware.budget cimport RetryBudget
from lbcore.state.holdings cimport State

from lbcore.config.middlewares.retry import RetryBudget as Budget
from lbcore.config.units import milliseconds, status_ranges

cdef enum:
    SPREAD_PERCENT = 50        # a pause is longer or shorter by up to that much


@cython.final
cdef class RetryTries(Tries):
    """Pauses grow evenly to twice the first one, and are spread, so that requests that failed together do not come again together.

    After a failure, what has an unknown method is repeated as in Traefik; it is not sent to two servers at once unless it is `hedged`.
    """

    cdef frozenset hedged              # methods, bytes
    cdef double growth                 # of a pause, from one to the next
    cdef RetryBudget budget            # None: attempts are not limited all together
    cdef State state                   # where denied attempts are counted, if there is a budget

    cdef bint repeats(self, Request request) noexcept:
        cdef Span method = request.head.method
        return self.repeats_unsafe or not (span_eq(method, b"POST", 4) or span_eq(method, b"PATCH", 5) or span_eq(method, b"LOCK", 4))

    cdef bint hedges(self, Request request) noexcept:
        return self.hedge_ms > 0 and span_bytes(request.head.method) in self.hedged

    cdef void begin(self, uint64_t now_ns) noexcept:
        if self.budget is not None:
            self.budget.note(now_ns)

    cdef bint spend(self, uint64_t now_ns) noexcept:
        if self.budget is None or self.budget.spend(now_ns):
            return True
        self.state.count_denied_retry()
        return False

    cdef void give_back(self, uint64_t now_ns) noexcept:
        if self.budget is not None:
            self.budget.give_back(now_ns)

    cdef int64_t pause(self, int made) noexcept:
        if self.pause_ms == 0:
            return 0
        spread = random.randint(100 - SPREAD_PERCENT, 100 + SPREAD_PERCENT) / 100
        return max(<int64_t>1, <int64_t>(<double>self.pause_ms * self.growth ** (made - 1) * <double>spread))


@cython.final
cdef class Retry(Middleware):
    """The `retry` middleware of Traefik."""

    cdef RetryTries tries
    cdef object budget                 # its options; None: there is none

    def __init__(self, str name, config):
        if config.disable_retry_on_network_error and not config.status and config.hedging is None:
            raise ValueError("retry middleware requires at least HTTP status codes or retry on TCP")
        if config.attempts <= 0:
            raise ValueError(f"incorrect (or empty) value for attempt ({config.attempts})")
        self.name = name
        self.tries = RetryTries(
            config.attempts,
            status_ranges(config.status),
            repeats_unsafe=config.retry_non_idempotent_method,
            max_body_bytes=config.max_request_body_bytes,
            pause_ms=milliseconds(config.initial_interval),
            within_ms=milliseconds(config.timeout),
            goes_on=not config.disable_retry_on_network_error,
            begins_anew=not config.disable_retry_on_network_error,
            hedge_ms=0 if config.hedging is None else milliseconds(config.hedging.after),
        )
        self.tries.hedged = frozenset() if config.hedging is None else frozenset(map(str.encode, config.hedging.hedged))
        self.tries.growth = 2 ** (1 / (config.attempts - 1)) if config.attempts > 1 else 1.0
        self.budget = config.budget
        if config.hedging is not None and self.budget is None:
            self.budget = Budget()             # where all servers are slow, hedging would double their load

    def keep_in(self, State state):
        if self.budget is not None:
            group = state.group(f"retry|{self.name}")
            self.tries.budget = RetryBudget(group, self.budget.ratio, self.budget.min_per_second)
            self.tries.state = state

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        context.set_tries(self.tries)
        return PASS
