"""inFlightReq: a source has no more than so many requests under way at once, over all workers, or over all instances. No I/O.

With a store all instances count there, and the request waits for the reply of a script, for a bounded time. While the store is away
this instance counts alone, for its part of the amount if it knows of others, or nobody does: as it is configured.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport span_of
from lbcore.middleware.base cimport ANSWER, PASS, WAIT, Context, Middleware, Pending, Slot
from lbcore.middleware.source cimport Source
from lbcore.state.holdings cimport Group, State

from lbcore.middleware.rate_limit import settings_of
from lbcore.config.units import milliseconds
from lbcore.store.holds import Holds, key_of
from lbcore.store.redis import Store


cdef enum:
    OF_GROUP = 2               # index into `Slot.words`: the Group, behind the 16 bytes of the key; owned by the middleware's; 0 = none

cdef enum:                     # of Held
    ASKED = 0
    HELD
    REFUSED
    FAILED


@cython.final
cdef class Held(Pending):
    """A request that waits for a place among those that the store counts, or has one."""

    cdef object holds          # Holds of the worker
    cdef bytes place           # its name there
    cdef int state
    cdef bint gone             # nobody waits any more: a place that comes is given back

    cdef int cancel(self) except -1:
        self.gone = True
        return 0

    cdef int expire(self) except -1:
        self.gone = True
        return Pending.expire(self)

    def take(self, result) -> None:
        """The store has replied, or failed."""
        if self.gone:
            if result:
                self.holds.release(self.place)
            return
        self.state = FAILED if result is None else HELD if result else REFUSED
        self.settle()


@cython.final
cdef class InFlightReq(Middleware):
    """A request above the amount is answered with 429. Each router and service at which this stands counts for itself, as in
    Traefik; where the table of keys has no room, the request is refused, too, and counted there."""

    cdef int64_t amount
    cdef bint divides                  # the amount is that of all instances
    cdef Source source
    cdef Group group
    cdef State state
    cdef bytes text
    cdef object holds                  # Holds; None: what is under way is counted in this instance
    cdef object settings               # of the store
    cdef str when_away                 # local, pass or refuse
    cdef int64_t most_wait_ms          # for the store

    def __init__(self, str name, config):
        self.name = name
        self.sees_end = True
        self.amount = config.amount
        self.divides = config.fleet_wide or config.redis is not None
        self.source = Source(config.source_criterion, "host")
        self.text = f"max connections reached: {config.amount}".encode()
        if config.redis is not None:
            self.when_away = config.redis.when_away
            self.most_wait_ms = milliseconds(config.redis.max_wait)
            self.settings = settings_of(config.redis)

    def keep_in(self, State state):
        self.state = state
        self.group = state.group(f"inFlightReq|{self.name}")
        if self.settings is not None:
            settings = self.settings.share(state.workers)
            store = state.keep(settings.identity, lambda: Store(settings))
            self.holds = state.keep(f"holds|{settings.identity}", lambda: Holds(store))

    cdef int64_t most(self) noexcept:
        """How many this instance lets through: its part of the amount, or all."""
        return max(self.amount // self.state.instances(), 1) if self.divides and self.amount else self.amount

    def why(self, Request request):
        return f"{self.source.text_of(request).decode('latin-1')!r} has {self.most()} requests under way"

    def state_at(self, str place, Request request):
        cdef Group group = self.group.part(place)
        cdef uint8_t key[16]
        if self.holds is not None:             # whose store is not asked for this
            found = {"store": "redis", "amount": self.amount}
            if request is not None:
                found["source"] = self.source.text_of(request).decode("latin-1")
            return found
        if request is None:
            held, sources = group.table.held(group.number)
            return {"inFlight": held, "amount": self.most(), "sources": sources}
        self.source.key_of(request, group, key)
        held, _ = group.table.held(group.number, (<const char*>key)[:16])
        source = self.source.text_of(request).decode("latin-1")
        return {"inFlight": held, "amount": self.most(), "source": source}

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        if self.holds is not None:
            return self.ask(request, answer, context)
        return self.hold(request, answer, context)

    cdef int hold(self, Request request, Response answer, Context context) except -1:
        """Count a request in this instance."""
        cdef Group group = self.group.part(context.place())
        cdef Slot* slot = context.slot()
        self.source.key_of(request, group, <uint8_t*>slot.words)
        if group.hold(<uint8_t*>slot.words, self.most()):
            slot.words[OF_GROUP] = <uint64_t><void*>group
            return PASS
        return self.refuse(answer)

    cdef int refuse(self, Response answer) except -1:
        answer.status = 429
        answer.text = span_of(self.text, len(self.text))
        return ANSWER

    cdef int ask(self, Request request, Response answer, Context context) except -1:
        """Have the request wait for the store, unless that is away."""
        cdef Held held = Held.__new__(Held)
        held.holds = self.holds
        held.place = self.holds.ask(key_of(self.name, context.place(), self.source.text_of(request)), self.amount, held.take)
        if held.place is None:
            return self.do_without(request, answer, context)
        context.keep_state(held)
        context.wait(held, self.most_wait_ms)
        return WAIT

    cdef int on_settled(self, Request request, Response answer, Context context, Pending pending) except -1:
        cdef Held held = <Held?>pending
        if held.state == HELD:
            return PASS
        if held.state == REFUSED:
            return self.refuse(answer)
        return self.do_without(request, answer, context)

    cdef int do_without(self, Request request, Response answer, Context context) except -1:
        """The store says nothing about a request, which is counted."""
        self.state.count_missed_store()
        if self.when_away == "local":
            return self.hold(request, answer, context)
        if self.when_away == "pass":
            context.slot()
            return PASS
        answer.status = 503
        answer.append(span_of(b"Retry-After", 11), span_of(b"1", 1))
        answer.text = span_of(b"Service Unavailable", 19)
        return ANSWER

    cdef int on_end(self, Request request, int status, Context context) except -1:
        cdef Slot* slot = context.slot()
        cdef object kept
        cdef Held held
        if slot.words[OF_GROUP]:
            (<Group><void*>slot.words[OF_GROUP]).release(<uint8_t*>slot.words)
        elif self.holds is not None:
            kept = context.state()
            if kept is not None:
                held = <Held?>kept
                if held.state == HELD:
                    held.state = REFUSED
                    held.holds.release(held.place)
        return 0
