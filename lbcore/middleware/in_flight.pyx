"""inFlightReq: a source has no more than so many requests under way at once, over all workers. No I/O."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport span_of
from lbcore.middleware.base cimport ANSWER, PASS, Context, Middleware, Slot
from lbcore.middleware.source cimport Source
from lbcore.state.holdings cimport Group, State


cdef enum:
    OF_GROUP = 2               # index into `Slot.words`: the Group, behind the 16 bytes of the key; owned by the middleware's


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
        cdef Group group = self.group.part(context.place())
        cdef Slot* slot = context.slot()
        self.source.key_of(request, group, <uint8_t*>slot.words)
        if group.hold(<uint8_t*>slot.words, self.amount):
            slot.words[OF_GROUP] = <uint64_t><void*>group
            return PASS
        answer.status = 429
        answer.text = span_of(self.text, len(self.text))
        return ANSWER

    cdef int on_end(self, Request request, int status, Context context) except -1:
        cdef Slot* slot = context.slot()
        (<Group><void*>slot.words[OF_GROUP]).release(<uint8_t*>slot.words)
        return 0
