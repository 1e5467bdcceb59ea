"""inFlightReq: a source has no more than so many requests under way at once, over all workers. No I/O."""

cimport cython
from libc.stdint cimport int64_t, uint8_t

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport span_of
from lbcore.middleware.base cimport ANSWER, PASS, Context, Middleware
from lbcore.middleware.source cimport Source
from lbcore.state.holdings cimport Group, State

cdef enum:
    KEPT_HOLDS = 1024          # kept for reuse


cdef class Hold:
    """One request of a source that is under way."""

    cdef Group group
    cdef uint8_t[16] key
    cdef Hold next_kept        # in the freelist


cdef Hold kept = None
cdef int kept_count = 0


cdef Hold hold_take(Group group):
    global kept, kept_count
    cdef Hold hold = kept
    if hold is None:
        hold = Hold.__new__(Hold)
    else:
        kept = hold.next_kept
        hold.next_kept = None
        kept_count -= 1
    hold.group = group
    return hold


cdef int hold_give(Hold hold) except -1:
    global kept, kept_count
    hold.group = None
    if kept_count < KEPT_HOLDS:
        hold.next_kept = kept
        kept = hold
        kept_count += 1
    return 0


@cython.final
cdef class InFlightReq(Middleware):
    """A request above the amount is answered with 429. Each router and service at which this stands counts for itself, as in
    Traefik; where the table of keys has no room, the request is refused, too, and counted there."""

    cdef int64_t amount
    cdef Source source
    cdef Group group
    cdef bytes text

    def __init__(self, str name, config):
        self.name = name
        self.sees_end = True
        self.amount = config.amount
        self.source = Source(config.source_criterion, "host")
        self.text = f"max connections reached: {config.amount}".encode()

    def keep_in(self, State state):
        self.group = state.group(f"inFlightReq|{self.name}")

    def why(self, Request request):
        return f"{self.source.text_of(request).decode('latin-1')!r} has {self.amount} requests under way"

    def state_at(self, str place, Request request):
        cdef Group group = self.group.part(place)
        cdef uint8_t key[16]
        if request is None:
            held, sources = group.table.held(group.number)
            return {"inFlight": held, "amount": self.amount, "sources": sources}
        self.source.key_of(request, group, key)
        held, _ = group.table.held(group.number, (<const char*>key)[:16])
        source = self.source.text_of(request).decode("latin-1")
        return {"inFlight": held, "amount": self.amount, "source": source}

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef Hold hold = hold_take(self.group.part(context.place()))
        self.source.key_of(request, hold.group, hold.key)
        if hold.group.hold(hold.key, self.amount):
            context.keep_state(hold)
            return PASS
        hold_give(hold)
        answer.status = 429
        answer.text = span_of(self.text, len(self.text))
        return ANSWER

    cdef int on_end(self, Request request, int status, Context context) except -1:
        cdef Hold hold = <Hold>context.state()
        hold.group.release(hold.key)
        return hold_give(hold)
