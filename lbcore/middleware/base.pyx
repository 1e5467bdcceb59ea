"""What every middleware is: a step of a request on its way in and of its answer on its way out. No I/O.

And what an exchange is to it: the Context.
"""

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memmove

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.sink cimport Filter
from lbcore.http.spare cimport response_give
from lbcore.state.budget cimport MemoryBudget


cdef class Pending:
    """What an exchange waits for: an answer from elsewhere, a slot, a moment. Begun by `Context.wait`, ended once.

    It ends by `settle` (the result is available), `expire` (timeout), or `cancel` (the exchange has ended: the client has gone,
    or the instance stops).
    """

    cdef int cancel(self) except -1:
        """The exchange waits no more: stop what is under way for it. `context` is None already."""
        return 0

    cdef int settle(self) except -1:
        """The result is available: the exchange continues, within this call. No effect if it does not wait any more.

        Before the middleware that called `Context.wait` has returned WAIT, the exchange goes on when that has happened.
        """
        return 0 if self.context is None else self.context.resume(self)

    cdef int expire(self) except -1:
        """The time is over: the exchange goes on, and the middleware sees `expired`."""
        self.timer = None
        self.expired = True
        return self.settle()


cdef class Deadline(Pending):
    """The end of the time that an exchange has: see `Context.set_deadline`."""

    cdef int expire(self) except -1:
        cdef Context context = self.context
        self.timer = self.context = None
        return 0 if context is None else context.be_overdue()

    cdef int end(self) except -1:
        """The exchange has no deadline any more. No effect if it has passed."""
        if self.timer is not None:
            self.context.disarm(self)
        self.context = None
        return 0


cdef class Reply(Pending):
    """What a service answers to a request of lbcore's own: see `Context.ask`."""

    cdef int release(self) except -1:
        """Nothing of it, or of its `response`, is read any more, after it was settled: their memory may be used again."""
        if self.response is not None:
            response_give(self.response)
            self.response = None
        return 0


cdef class Tries:
    """Attempts beside those that lbcore makes by default: see `Context.set_tries`."""

    def __init__(self, int most, statuses=(), *, bint repeats_unsafe=False, int64_t max_body_bytes=-1, int64_t pause_ms=0,
                 int64_t within_ms=0, bint goes_on=True, bint begins_anew=False, int64_t hedge_ms=0):
        if most < 1:
            raise ValueError("at least one attempt is made")
        self.most = most
        self.statuses = [(<int>first, <int>last) for first, last in statuses]
        self.repeats_unsafe = repeats_unsafe
        self.max_body_bytes = max_body_bytes
        self.pause_ms = pause_ms
        self.within_ms = within_ms
        self.sees_answers = len(self.statuses) > 0
        self.goes_on = goes_on
        self.begins_anew = begins_anew
        self.hedge_ms = hedge_ms

    cdef bint repeats(self, Request request) noexcept:
        """Whether a request may be sent again after a server has answered it."""
        return self.repeats_unsafe or request.is_idempotent()

    cdef bint hedges(self, Request request) noexcept:
        """Whether a request may be at several servers at the same time."""
        return self.hedge_ms > 0 and self.repeats(request)

    cdef int64_t pause(self, int made) noexcept:
        """ms from the last attempt of those made to the next."""
        return self.pause_ms << min(made - 1, 20)

    cdef void begin(self, uint64_t now_ns) noexcept:
        """A request has come that may be tried so often."""

    cdef bint spend(self, uint64_t now_ns) noexcept:
        """Whether one more attempt may be made now, which counts as made."""
        return True

    cdef void give_back(self, uint64_t now_ns) noexcept:
        """The attempt of `spend` is not made."""

    cdef bint drops(self, int status, int made) noexcept:
        """Whether an answer of this status, to the last attempt of those made, is to be followed by another one."""
        for first, last in self.statuses:
            if <int>first <= status <= <int>last:
                return True
        return False


cdef class Context:
    """An exchange, as middlewares see it."""

    def __cinit__(self):
        self.slots = self.few
        self.room = FEW_SLOTS

    def __dealloc__(self):
        while self.n_slots:
            self.drop_slot()
        if self.slots != self.few:
            free(self.slots)

    cdef int wait(self, Pending pending, int64_t timeout_ms) except -1:
        """Wait until `pending` is settled, for `timeout_ms` (above 0) at most. To be followed by `return WAIT`: another verdict
        is an error."""
        raise NotImplementedError

    cdef int disarm(self, Pending pending) except -1:
        """Stop the timer of `pending`, which has one."""
        raise NotImplementedError

    cdef int resume(self, Pending pending) except -1:
        """Go on, if `pending` is what is waited for. Raises nothing of what that leads to."""
        raise NotImplementedError

    cdef Reply ask(self, object service, Request request, bytes body, int64_t limit_bytes, int64_t timeout_ms):
        """Send a request of the middleware's own to a Service and wait for its answer. To be followed by `return WAIT`.

        request      its head, given away; `Request.copy` makes one. Its framing is set here, by `body`.
        limit_bytes  that the answer's body may have; they count to the instance's budget for bodies.
        timeout_ms   above 0. When that time is over, or the client has gone, the request is broken off.
        """
        raise NotImplementedError

    cdef int trace_question(self, Request question, str address) except -1:
        """To be called before `ask`, by what is to have a span of its own among those of the request. `address`: the URL that is asked,
        which is kept."""
        return 0

    cdef int trace_reply(self, Reply reply) except -1:
        """To be called when that is settled."""
        return 0

    cdef object state(self):
        """What the middleware at work has kept for this exchange, or None."""
        cdef Py_ssize_t i = self.n_slots
        while i and self.slots[i - 1].step > self.step:
            i -= 1
        if i == 0 or self.slots[i - 1].step < self.step or self.slots[i - 1].state == NULL:
            return None
        return <object>self.slots[i - 1].state

    cdef int keep_state(self, object state) except -1:
        """Keep an object for this exchange, until it ends or the middleware is left again. Numbers go into `slot().words`."""
        cdef Slot* slot = self.slot()
        cdef PyObject* former = slot.state
        Py_INCREF(state)
        slot.state = <PyObject*>state
        if former != NULL:
            Py_DECREF(<object>former)
        return 0

    cdef Slot* make_slot(self) except NULL:
        """`slot` for one that is not the last one. Raises MemoryError."""
        cdef Py_ssize_t at = self.n_slots
        cdef Slot* slot
        cdef void* moved
        cdef int i
        while at and self.slots[at - 1].step > self.step:
            at -= 1
        if at and self.slots[at - 1].step == self.step:
            return &self.slots[at - 1]
        if self.n_slots == self.room:
            moved = realloc(NULL if self.slots == self.few else self.slots, 2 * self.room * sizeof(Slot))
            if moved == NULL:
                raise MemoryError
            if self.slots == self.few:
                memcpy(moved, self.few, sizeof(self.few))
            self.slots = <Slot*>moved
            self.room *= 2
        if at < self.n_slots:
            memmove(&self.slots[at + 1], &self.slots[at], (self.n_slots - at) * sizeof(Slot))
        slot = &self.slots[at]
        slot.step = self.step
        slot.owed = slot.state = NULL
        for i in range(SLOT_WORDS):
            slot.words[i] = 0
        self.n_slots += 1
        return slot

    cdef void drop_slot(self) noexcept:
        """Remove the last slot, with what it keeps."""
        cdef PyObject* state = self.slots[self.n_slots - 1].state
        self.n_slots -= 1
        if state != NULL:
            Py_DECREF(<object>state)

    cdef int add_request_filter(self, Filter filter) except -1:
        """Have the request's body pass a filter on its way to the server, behind those that were added earlier: it sees what
        the middlewares before this one have made of the body. Within `on_request` or `on_settled`. It stays for whatever
        server is asked, until the request leaves the middleware."""
        raise NotImplementedError

    cdef int add_answer_filter(self, Filter filter) except -1:
        """Have the answer's body pass a filter on its way to the client, behind those that were added earlier: it sees what
        the middlewares nearer to the server have made of the body. Within `on_response` or `on_response_settled`, to be
        followed by `return PASS`; one that changes the length has to remove it from `answer.framing` and from the headers."""
        raise NotImplementedError

    cdef int take_body(self) except -1:
        """Have the request's body come now, before a server is chosen, into the filters that were added; the last one `keeps_all` of
        it. Within `on_request` or `on_settled`, after `wait`: that filter settles the Pending when the body has come, which begins to
        when the middleware has returned."""
        raise NotImplementedError

    cdef MemoryBudget budget(self):
        """The memory of the instance for bodies that are kept."""
        raise NotImplementedError

    cdef int discard_answer(self) except -1:
        """Discard the body that the server is about to send: the slot at the server is free from here on.
        Within `on_response`; to be followed by ANSWER, or by WAIT and then ANSWER. What ANSWER replaces is discarded anyhow."""
        raise NotImplementedError

    cdef int hold_head(self) except -1:
        """Send the head of the answer when `release_head` says so: a filter that this middleware has added for the answer decides
        about headers by the body. Within `on_response`, to be followed by PASS. The middlewares in front are asked when it is released:
        they see the head, or the answer in its place if the server fails before, or a filter refuses."""
        raise NotImplementedError

    cdef int release_head(self) except -1:
        """The head, as it is now, may go on: in `put`, `flush` or `end` of the filter. That keeps what has come of the body until `give`
        is called, and `holds` and is `blocked` until then."""
        raise NotImplementedError

    cdef int set_tries(self, Tries tries) except -1:
        """Have servers asked as often as this says. Within `on_request` or `on_settled`; the last one that is set counts."""
        raise NotImplementedError

    cdef Deadline set_deadline(self, int64_t timeout_ms):
        """Have the exchange end after that time (above 0), whatever it does: by 504, or by breaking the answer off. The middleware
        calls `Deadline.end` in its `on_end`, at the latest."""
        raise NotImplementedError

    cdef int be_overdue(self) except -1:
        """A deadline of the exchange has passed. Raises nothing of what that leads to."""
        raise NotImplementedError

    cdef list attempts_made(self):
        """What became of each attempt so far, in order: (server, sent_ns, origin_ns, ended_ns, status, error, abandoned), as in
        `Attempt`; times stand there where the entry point has an observer."""
        raise NotImplementedError

    cdef str place(self):
        """The router or the service in front of which the middleware at work stands: the same one may stand in front of several."""
        raise NotImplementedError

    cdef uint64_t now_ns(self) noexcept:
        """The monotonic time."""
        return 0

    cdef int hurry(self) except -1:
        """Have the event loop go on soon: what is waited for was given to it as work."""
        raise NotImplementedError

    cdef int leave_steps(self, Py_ssize_t step) except -1:
        """The request has left the middlewares from `step` on: their filters see nothing of its body any more, what they keep
        for the exchange is gone, and it has ended for them."""
        raise NotImplementedError


cdef class Middleware:
    """Immutable and shared by all exchanges of a worker: what belongs to one exchange is kept by `Context.keep_state`."""

    def bind(self, find):
        """Take the services that this middleware asks (`Context.ask`): `find(name)` returns one, or raises ValueError.

        Called once, when all middlewares of a configuration are built and before any request comes.
        """

    def keep_in(self, state):
        """Take what this middleware has beyond one exchange: `state` is a `lbcore.state.holdings.State`.

        Called once, when it is built.
        """

    def why(self, Request request):
        """What it has gone by in answering this request, as a text for explanations; None: its name says it."""
        return None

    def state_at(self, str place, Request request):
        """What it knows at the router or service in front of which it stands, as JSON values, for explanations and the API.

        request  whose source it is about; None: all of them. Read without a lock: what changes meanwhile may be missing.
        Returns  None if there is nothing to know.
        """
        return None

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        """Change the request on its way to the server. Returns a Verdict."""
        return PASS

    cdef int on_settled(self, Request request, Response answer, Context context, Pending pending) except -1:
        """The wait of this middleware has ended: with a result, or with `pending.expired`. Returns a Verdict."""
        return PASS

    cdef int on_response(self, Request request, Response answer, Context context) except -1:
        """Change the head of the answer on its way to the client, replace the answer, or have it wait. Returns a Verdict.

        Called when `sees_answer`, for each middleware that the request has passed, the last one first, and once for an
        exchange: for the server's final answer (101 is one), or for lbcore's own. Before ANSWER, `answer` is made anew (`clear`) or
        changed: status, headers and `text`, which has to stay valid until the exchange ends (`Response.keep`, `keep_state`).
        Nothing of the body is read while the answer waits.
        """
        return PASS

    cdef int on_response_settled(self, Request request, Response answer, Context context, Pending pending) except -1:
        """The wait of this middleware for the answer has ended: with a result, or with `pending.expired`. Returns a Verdict."""
        return PASS

    cdef int on_end(self, Request request, int status, Context context) except -1:
        """The exchange is over, or the request goes another way, for a fallback, than by this middleware of a service.

        Called when `sees_end`, exactly once for each `on_request` that returned PASS or WAIT, the last one first; what goes wrong
        in here ends nothing else. `Context.state` is still there. Answers are put by then, not necessarily sent.

        status  that the client was answered with; 499: it went away; 0: it was not answered.
        """
        return 0
