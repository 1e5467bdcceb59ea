# What every middleware is: a step of a request on its way in and of its answer on its way out; and what an exchange is to it.

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.sink cimport Filter
from lbcore.http.span cimport Span
from lbcore.state.budget cimport MemoryBudget


cdef enum Verdict:                     # of a middleware, about the request or the answer
    PASS = 0                           # it goes to the next step
    ANSWER = 1                         # `answer` holds another answer: no server is asked, or what the server has answered is discarded
    WAIT = 2                           # `Context.wait` was called: the exchange goes on when that is settled


cdef class Pending:                    # what an exchange waits for
    cdef Context context               # the exchange that waits; None = none does (any more)
    cdef object timer                  # that `Context.disarm` stops; None = none runs
    cdef bint expired                  # settled because its time was over

    cdef int cancel(self) except -1
    cdef int settle(self) except -1
    cdef int expire(self) except -1


cdef class Deadline(Pending):          # the end of the time that an exchange has

    cdef int end(self) except -1


cdef class Reply(Pending):             # what a service answers to a request of lbcore's own
    cdef Response response             # head of the answer, owned; None until this is settled, and when no whole answer came
    cdef Span body                     # of the answer, valid as long as this object lives; empty when there is none
    cdef bint overflowed               # no whole answer came because its body is longer than allowed, or there was no memory
    cdef int error                     # ErrorKind; -1 = the answer is the server's own

    cdef int release(self) except -1


cdef class Tries:                      # how many attempts a route makes, and after what; immutable, unless it is of one exchange
    cdef readonly int most             # attempts, the first one included
    cdef readonly bint repeats_unsafe  # also requests whose method is not idempotent
    cdef readonly int64_t max_body_bytes   # a longer body is not kept, and its request not repeated after an answer; -1 = a share of the budget
    cdef readonly int64_t pause_ms     # before the second attempt, doubled for each one after that; 0 = none
    cdef readonly int64_t within_ms    # of the first attempt: no other one begins later; 0 = any time
    cdef readonly list statuses        # [first, last] of answers that another attempt follows; empty = only a server that was not reached is followed by one
    cdef readonly bint sees_answers    # `drops` may say yes: the body is kept, and no interim answer goes out
    cdef readonly bint goes_on         # another server is tried when one could not be reached
    cdef readonly bint begins_anew     # so are all of them again, when none of them could be reached
    cdef readonly int64_t hedge_ms     # without an answer, then another server is asked beside; 0 = none is

    cdef bint repeats(self, Request request) noexcept
    cdef bint hedges(self, Request request) noexcept
    cdef bint drops(self, int status, int made) noexcept
    cdef int64_t pause(self, int made) noexcept
    cdef void begin(self, uint64_t now_ns) noexcept
    cdef bint spend(self, uint64_t now_ns) noexcept
    cdef void give_back(self, uint64_t now_ns) noexcept


cdef extern from "Python.h":
    PyObject* item_of "PyTuple_GET_ITEM"(PyObject* items, Py_ssize_t index) nogil      # borrowed, not checked


cdef enum:
    SLOT_WORDS = 5
    FEW_SLOTS = 4              # without memory of their own


cdef struct Slot:                      # what an exchange has for one middleware; a cache line
    Py_ssize_t step                    # of the middleware
    PyObject* owed                     # the Middleware, if its `on_end` is still to be called; the exchange's route or gate owns it
    PyObject* state                    # what it keeps, owned; NULL = nothing
    uint64_t words[SLOT_WORDS]         # numbers that it keeps, 0 at first


cdef class Context:                    # an exchange, as middlewares see it
    cdef Pending pending               # what it waits for; None = nothing
    cdef bint waiting                  # for `pending`: the middleware has returned WAIT. Until then a `pending` that is settled is `settled_early`
    cdef bint settled_early            # `pending` was settled before the exchange began to wait, which goes on at once
    cdef Py_ssize_t step               # of the middleware at work, among all that the request passes
    cdef Py_ssize_t n_slots            # of the middlewares that keep something, or want to see the end
    cdef Py_ssize_t room               # of `slots`
    cdef Slot* slots                   # in the order of steps; `few`, or owned
    cdef Slot[FEW_SLOTS] few

    cdef int wait(self, Pending pending, int64_t timeout_ms) except -1
    cdef int disarm(self, Pending pending) except -1
    cdef int resume(self, Pending pending) except -1
    cdef Reply ask(self, object service, Request request, bytes body, int64_t limit_bytes, int64_t timeout_ms)
    cdef int trace_question(self, Request question, str address) except -1
    cdef int trace_reply(self, Reply reply) except -1
    cdef object state(self)
    cdef int keep_state(self, object state) except -1
    cdef int add_request_filter(self, Filter filter) except -1
    cdef int add_answer_filter(self, Filter filter) except -1
    cdef int take_body(self) except -1
    cdef MemoryBudget budget(self)
    cdef int discard_answer(self) except -1
    cdef int hold_head(self) except -1
    cdef int release_head(self) except -1
    cdef int set_tries(self, Tries tries) except -1
    cdef Deadline set_deadline(self, int64_t timeout_ms)
    cdef int be_overdue(self) except -1
    cdef list attempts_made(self)
    cdef str place(self)
    cdef uint64_t now_ns(self) noexcept
    cdef int hurry(self) except -1
    cdef Slot* make_slot(self) except NULL
    cdef void drop_slot(self) noexcept
    cdef int leave_steps(self, Py_ssize_t step) except -1

    cdef inline Slot* slot(self) except NULL:
        """The slot of the middleware at work, valid until another one is made."""
        if self.n_slots and self.slots[self.n_slots - 1].step == self.step:
            return &self.slots[self.n_slots - 1]
        return self.make_slot()

    cdef inline int owe_end(self, Middleware middleware) except -1:
        """The request has passed this middleware, which is at work, or waits in it: its `on_end` is to be called."""
        self.slot().owed = <PyObject*>middleware
        return 0


cdef class Middleware:
    cdef readonly str name             # `name@provider`
    cdef bint sees_answer              # `on_response` has something to do
    cdef bint sees_end                 # `on_end` has something to do
    cdef bint guards                   # all that it answers in a server's place is a refusal, whatever its status; else so is 400 and above
    cdef public object denials         # Denials of its refusals; None = they are not counted, since it is none of the configuration

    cdef int on_request(self, Request request, Response answer, Context context) except -1
    cdef int on_settled(self, Request request, Response answer, Context context, Pending pending) except -1
    cdef int on_response(self, Request request, Response answer, Context context) except -1
    cdef int on_response_settled(self, Request request, Response answer, Context context, Pending pending) except -1
    cdef int on_end(self, Request request, int status, Context context) except -1
