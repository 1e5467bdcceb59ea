"""A middleware for tests: it has requests wait until the test lets them go on, answers, or breaks, as their headers say."""

from libc.stdint cimport int64_t

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_bytes, span_of
from lbcore.middleware.base cimport ANSWER, PASS, WAIT, Context, Middleware, Pending


cdef class Held(Pending):
    """One request that waits."""

    cdef Step step
    cdef bint breaks                   # when it is cancelled

    cdef int cancel(self) except -1:
        self.step.held.remove(self)
        self.step.cancelled += 1
        if self.breaks:
            raise RuntimeError("as the test wants it")
        return 0


cdef class Step(Middleware):
    """`X-Step`: a list of `name=what`. what: `wait`, `answer`, `break` (raises), `late-answer` and `late-break` (after a wait),
    `cancel-break` (a wait that raises when it is cancelled).

    What it keeps for an exchange is how often it was called for it, told in the answer's header `X-<name>`.
    """

    cdef readonly list held            # that wait just now
    cdef readonly int passed           # requests that went on
    cdef readonly int cancelled
    cdef readonly int expired
    cdef public int64_t timeout_ms
    cdef bytes header

    def __init__(self, str name, int64_t timeout_ms=20000):
        self.name = name
        self.sees_answer = True
        self.timeout_ms = timeout_ms
        self.held = []
        self.header = b"X-" + name.partition("@")[0].encode()

    cdef bytes wish(self, Request request):
        cdef Span found = request.find(b"x-step", 6)
        if found.ptr == NULL:
            return b""
        wishes = dict(part.partition(b"=")[::2] for part in span_bytes(found).replace(b" ", b"").split(b","))
        return wishes.get(self.name.partition("@")[0].encode(), b"")

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef Held pending
        wish = self.wish(request)
        context.keep_state((context.state() or 0) + 1)
        if wish == b"break":
            raise RuntimeError("as the test wants it")
        if wish == b"answer":
            return self.answer(answer)
        if wish:
            pending = Held.__new__(Held)
            pending.step = self
            pending.breaks = wish == b"cancel-break"
            self.held.append(pending)
            context.wait(pending, self.timeout_ms)
            return WAIT
        return self.let_pass(request)

    cdef int let_pass(self, Request request) except -1:
        self.passed += 1
        request.add_own(span_of(self.header, len(self.header)), span_of(b"passed", 6))
        return PASS

    cdef int answer(self, Response answer) except -1:
        answer.status = 403
        answer.text = span_of(b"no", 2)
        return ANSWER

    cdef int on_settled(self, Request request, Response answer, Context context, Pending pending) except -1:
        wish = self.wish(request)
        context.keep_state(context.state() + 1)
        if pending.expired:
            self.held.remove(pending)
            self.expired += 1
            answer.status = 504
            answer.text = span_of(b"late", 4)
            return ANSWER
        if wish == b"late-break":
            raise RuntimeError("as the test wants it")
        return self.answer(answer) if wish == b"late-answer" else self.let_pass(request)

    cdef int on_response(self, Request request, Response response, Context context) except -1:
        cdef bytes count = b"%d" % context.state()
        cdef char* copy = response.alloc(len(count))
        cdef Py_ssize_t i
        for i in range(len(count)):
            copy[i] = count[i]
        response.append(span_of(self.header, len(self.header)), span_of(copy, len(count)))
        return 0

    def release(self) -> int:
        """Have all go on that wait. To be called in the event loop of the proxy."""
        cdef list held = self.held
        self.held = []
        for pending in held:
            (<Pending>pending).settle()
        return len(held)
