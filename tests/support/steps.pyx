"""A middleware for tests: it has requests and answers wait until the test lets them go on, answers, or breaks, as headers say."""

from libc.stdint cimport int64_t

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_bytes, span_of
from lbcore.middleware.base cimport ANSWER, PASS, WAIT, Context, Middleware, Pending, Tries


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
    `cancel-break` (a wait that raises when it is cancelled), `early` (a wait that is settled before it has begun), `lost` (a wait, and
    the request passes). The same behind `back-` has the answer wait, be replaced, and so on; `back-discard`: a `back-late-answer` that wants
    nothing of the server's body from the beginning. `tries`: up to three answers are wanted until one is not of 5xx; `hedge`: one
    after another is made beside those under way.

    What it keeps for an exchange is how often it was called for it, told in the answer's header `X-<name>`.
    """

    cdef readonly list held            # that wait just now
    cdef readonly int passed           # requests that went on
    cdef readonly int begun            # requests that passed or waited
    cdef readonly list statuses        # that `on_end` was called with
    cdef Tries tries, hedging
    cdef readonly int cancelled
    cdef readonly int expired
    cdef public int64_t timeout_ms
    cdef bytes header

    def __init__(self, str name, int64_t timeout_ms=20000):
        self.name = name
        self.sees_answer = self.sees_end = True
        self.statuses = []
        self.tries = Tries(3, [(500, 599)], repeats_unsafe=True, max_body_bytes=100_000, pause_ms=5)
        self.hedging = Tries(3, repeats_unsafe=True, max_body_bytes=100_000, hedge_ms=2)
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
        wish = self.wish(request)
        context.keep_state((context.state() or 0) + 1)
        if wish == b"break":
            raise RuntimeError("as the test wants it")
        if wish == b"answer":
            return self.answer(answer)
        self.begun += 1
        if wish == b"tries":
            context.set_tries(self.tries)
            return self.let_pass(request)
        if wish == b"hedge":
            context.set_tries(self.hedging)
            return self.let_pass(request)
        if wish and not wish.startswith(b"back-"):
            return self.have_it_wait(context, wish)
        return self.let_pass(request)

    cdef int have_it_wait(self, Context context, bytes wish) except -1:
        cdef Held pending = Held.__new__(Held)
        pending.step = self
        pending.breaks = wish == b"cancel-break"
        self.held.append(pending)
        context.wait(pending, self.timeout_ms)
        if wish == b"lost":
            return PASS
        if wish == b"early":
            self.held.remove(pending)
            pending.settle()
        return WAIT

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
        wish = self.wish(request)
        if not wish.startswith(b"back-"):
            return self.count(response, context)
        context.keep_state(context.state() + 1)
        wish = wish[5:]
        if wish == b"break":
            raise RuntimeError("as the test wants it")
        if wish == b"answer":
            return self.replace(response)
        if wish == b"discard":
            context.discard_answer()
        return self.have_it_wait(context, wish)

    cdef int on_response_settled(self, Request request, Response response, Context context, Pending pending) except -1:
        wish = self.wish(request)
        context.keep_state(context.state() + 1)
        if pending.expired:
            self.held.remove(pending)
            self.expired += 1
            return self.replace(response)
        if wish == b"back-late-break":
            raise RuntimeError("as the test wants it")
        return self.replace(response) if wish in (b"back-late-answer", b"back-discard") else self.count(response, context)

    cdef int replace(self, Response response) except -1:
        response.clear()
        response.status = 418
        response.text = span_of(b"another", 7)
        return ANSWER

    cdef int count(self, Response response, Context context) except -1:
        cdef bytes count = b"%d" % context.state()
        response.append(span_of(self.header, len(self.header)), response.keep(span_of(count, len(count))))
        return PASS

    cdef int on_end(self, Request request, int status, Context context) except -1:
        assert context.state() > 0
        self.statuses.append(status)
        return 0

    def release(self) -> int:
        """Have all go on that wait. To be called in the event loop of the proxy."""
        cdef list held = self.held
        self.held = []
        for pending in held:
            (<Pending>pending).settle()
        return len(held)
