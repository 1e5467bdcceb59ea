"""A request on its way through middlewares without an exchange: what each of them makes of it. Nothing is sent. No I/O.

The middlewares run as they do for an exchange, and change the request. What limits count is counted: the region that they were
built with must be one that serves no requests.
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.sink cimport Filter
from lbcore.http.span cimport Span, span_bytes
from lbcore.middleware.base cimport ANSWER, WAIT, Context, Deadline, Middleware, Pending, Reply, Slot, Tries
from lbcore.routing.index cimport RouteIndex
from lbcore.routing.route cimport Route
from lbcore.selection.clock cimport monotonic_ns
from lbcore.state.budget cimport MemoryBudget
from lbcore.state.region cimport Region


@cython.final
cdef class Rehearsal(Context):
    """The way of one request, to which its client's address was given.

    encrypted  whether the client has come over TLS.
    """

    def __init__(self, Request request, Region region, bint encrypted=False):
        self.request = request
        self.request.head.encrypted = encrypted
        self.answer = Response()
        self.memory = MemoryBudget(region, 0)

    @property
    def path(self) -> str:
        """The target of the request, as the middlewares so far have left it."""
        cdef Span path = self.request.head.path, query = self.request.head.query
        text = span_bytes(path).decode("utf-8", "replace")
        return f"{text}?{span_bytes(query).decode('utf-8', 'replace')}" if self.request.head.has_query else text

    def find(self, RouteIndex routes):
        """The route that takes the request as it is now; None: there is none."""
        if self.step:
            self.request.follow_path()
        return <Route>routes.find(&self.request.head)

    def meet(self, Middleware middleware, str place) -> tuple:
        """Have the request meet its next middleware, which stands in front of the router or service `place`.

        Returns (verdict, detail): `passes`; `answers` with the status, and where a redirection leads to; `asks` with the
        service, or without one where it waits for something else. The request is taken to pass what asks.
        """
        cdef int verdict
        cdef Span location
        self.where = place
        self.asked = None
        verdict = middleware.on_request(self.request, self.answer, self)
        if verdict == ANSWER:
            location = self.answer.find(b"location", 8)
            detail = str(self.answer.status)
            if location.len:
                detail += f", Location: {span_bytes(location).decode('utf-8', 'replace')}"
            if because := middleware.why(self.request):
                detail += f": {because}"
            return "answers", detail
        if middleware.sees_end:
            self.owe_end(middleware)
        self.step += 1
        if verdict == WAIT:
            self.end_waiting()
            return "asks", self.asked or ""
        return "passes", ""

    def leave(self) -> None:
        """The way has ended: what middlewares hold for the request is released."""
        self.leave_steps(0)

    cdef int end_waiting(self) except -1:
        """What the middleware has begun to wait for is not wanted."""
        cdef Pending pending = self.pending
        self.pending = None
        self.waiting = False
        return 0 if pending is None else pending.cancel()

    cdef int wait(self, Pending pending, int64_t timeout_ms) except -1:
        self.pending = pending         # whose context stays None: that it is settled has no effect
        return 0

    cdef int resume(self, Pending pending) except -1:
        return 0

    cdef Reply ask(self, object service, Request request, bytes body, int64_t limit_bytes, int64_t timeout_ms):
        self.asked = service.name
        return Reply.__new__(Reply)

    cdef int add_request_filter(self, Filter filter) except -1:
        return 0

    cdef int add_answer_filter(self, Filter filter) except -1:
        return 0

    cdef int take_body(self) except -1:
        return 0

    cdef MemoryBudget budget(self):
        return self.memory

    cdef int discard_answer(self) except -1:
        return 0

    cdef int hold_head(self) except -1:
        return 0

    cdef int release_head(self) except -1:
        return 0

    cdef int set_tries(self, Tries tries) except -1:
        return 0

    cdef Deadline set_deadline(self, int64_t timeout_ms):
        return Deadline.__new__(Deadline)

    cdef int be_overdue(self) except -1:
        return 0

    cdef list attempts_made(self):
        return []

    cdef str place(self):
        return self.where

    cdef uint64_t now_ns(self) noexcept:
        return monotonic_ns()

    cdef int hurry(self) except -1:
        return 0

    cdef int leave_steps(self, Py_ssize_t step) except -1:
        cdef Slot* slot
        cdef Middleware middleware
        while self.n_slots:
            slot = &self.slots[self.n_slots - 1]
            if slot.step < step:
                break
            self.step = slot.step
            if slot.owed != NULL:
                middleware = <Middleware>slot.owed
                slot.owed = NULL
                middleware.on_end(self.request, 200, self)
            self.drop_slot()
        return 0
