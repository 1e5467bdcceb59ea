"""Middlewares for tests that keep state over exchanges, workers and reloads: so many under way, so many in all, attempts."""

from libc.stdint cimport int64_t, uint8_t

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_of
from lbcore.middleware.base cimport ANSWER, PASS, Context, Middleware, Tries
from lbcore.state.holdings cimport Group, State
from lbcore.state.layout cimport KeyedRow


cdef class Counter:
    """An object of a worker that outlives reloads."""

    cdef object __weakref__
    cdef public int64_t count


cdef int refuse(Response answer) except -1:
    answer.status = 429
    answer.text = span_of(b"too many", 8)
    return ANSWER


cdef class InFlight(Middleware):
    """`amount` requests under way at once for each value of the header X-Key, and for each place it is used at."""

    cdef int64_t amount
    cdef Group group
    cdef Counter counter
    cdef readonly list places

    def __init__(self, str name, int64_t amount):
        self.name = name
        self.amount = amount
        self.sees_end = True
        self.places = []

    def keep_in(self, State state):
        self.group = state.group(self.name)
        self.counter = state.keep(self.name, Counter)

    @property
    def ended(self) -> int:
        return self.counter.count

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef Span value = request.find(b"x-key", 5)
        cdef Group group = self.group.part(context.place())
        cdef bytearray key = bytearray(16)
        self.places.append(context.place())
        group.key_of(value.ptr, value.len, <uint8_t*><char*>key)
        if not group.hold(<uint8_t*><char*>key, self.amount):
            return refuse(answer)
        context.keep_state((group, key))
        return PASS

    cdef int on_end(self, Request request, int status, Context context) except -1:
        cdef Group group
        cdef bytearray key
        group, key = context.state()
        group.release(<uint8_t*><char*>key)
        self.counter.count += 1
        return 0


cdef class Rate(Middleware):
    """`amount` requests in all for each value of the header X-Key."""

    cdef int64_t amount
    cdef Group group

    def __init__(self, str name, int64_t amount):
        self.name = name
        self.amount = amount

    def keep_in(self, State state):
        self.group = state.group(self.name)

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef Span value = request.find(b"x-key", 5)
        cdef uint8_t[16] key
        cdef KeyedRow* row
        cdef bint locked, passes = True
        self.group.key_of(value.ptr, value.len, key)
        locked = self.group.table.lock()
        row = self.group.take(key, 1)
        if row != NULL:
            passes = row.value < self.amount
            row.value += 1
        self.group.table.unlock(locked)
        return PASS if passes else refuse(answer)


cdef class Trying(Middleware):
    """Sets what a route wants of attempts, and keeps the attempts of each exchange, and the exchange while it is under way."""

    cdef public Tries tries            # None = nothing
    cdef readonly list attempts
    cdef readonly list under_way

    def __init__(self, str name):
        self.name = name
        self.sees_end = True
        self.attempts = []
        self.under_way = []

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        if self.tries is not None:
            context.set_tries(self.tries)
        self.under_way.append(context)
        return PASS

    cdef int on_end(self, Request request, int status, Context context) except -1:
        self.attempts.append(context.attempts_made())
        self.under_way.remove(context)
        return 0
