"""One exchange from its first byte to its last: the request's way through routing, middlewares and waits. No I/O."""

import logging

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from lbcore.http.freelist cimport FreeList, freelist_give, freelist_take
from lbcore.http.head cimport RequestHead
from lbcore.http.reflect cimport reflect
from lbcore.http.render cimport forwarded_port
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport span_eq, span_of
from lbcore.middleware.base cimport ANSWER, PASS, WAIT, Middleware, Pending, Reply, Slot, item_of
from lbcore.proxy.attempt cimport Attempt
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.explainer cimport explain_if_asked
from lbcore.proxy.gates cimport Gates
from lbcore.proxy.way_back cimport WayBack
from lbcore.routing.asker cimport Asker
from lbcore.routing.decision cimport Decision
from lbcore.routing.queue cimport Waiter
from lbcore.routing.route cimport Route
from lbcore.routing.service cimport Service
from lbcore.selection.clock cimport monotonic_ns
from lbcore.state.layout cimport ERROR_BAD_REQUEST, ERROR_NO_ROUTER
from lbcore.proxy.answer_way cimport AnswerWay
from lbcore.proxy.attempts cimport PHASE_CHOOSE, PHASE_GATES, PHASE_QUEUE, PHASE_ROUTE
from lbcore.proxy.exchange cimport ClientStream, Dialer, Exchange
from lbcore.proxy.tracing cimport begin_trace, enter_middleware, enter_router, trace_question, trace_reply

_log = logging.getLogger("lbcore.proxy")


cdef FreeList kept                  # exchanges
cdef uint64_t last_serial = 0


@cython.final
cdef class WholeExchange(AnswerWay):
    """A request, its answer, and every decision taken on the way. Reused: get one with `exchange_take`."""

    def __cinit__(self):
        self.request = Request()
        self.response = Response()
        self.decision = Decision()
        self.attempt = Attempt()
        self.asker = Asker()
        self.gates = Gates()
        self.way_back = WayBack()

    cdef int begin(self) except -1:
        """Route the request, whose head is complete, and send it to a server."""
        cdef RequestHead* head = &self.request.head
        self.entry_point.stats.requests += 1
        self.started_ns = self.dialer.clock[0] if self.entry_point.observer is None else monotonic_ns()
        if self.request.is_last_hop:
            if reflect(self.request, self.response):
                return self.send_answer()
            return self.answer(200, b"", False)
        if span_eq(head.method, b"CONNECT", 7):
            self.error = ERROR_BAD_REQUEST
            return self.answer(501, b"Not Implemented", False)
        if self.forward.trusted:
            self.request.release_aliases()
            self.request.note_forwarded()
            settle_port(self.request)
        else:
            self.request.drop_managed()
        if self.request.framing.names_headers:
            self.request.drop_listed(self.entry_point.visible_hop_headers)
        self.forward.pass_host = True
        if not head.encrypted:
            self.route = <Route>self.entry_point.routes.find(head)
        else:
            self.route = <Route>self.entry_point.encrypted_routes.find(head)
            if self.entry_point.options_by_host is not None \
                    and self.entry_point.misdirected(self.server_name, self.route):
                self.route = None
                self.error = ERROR_BAD_REQUEST
                return self.answer(421, b"Misdirected Request\n", True)
        if self.entry_point.explainer is not None:
            self.explanation = explain_if_asked(self.entry_point, self.route, self.request, self.decision)
        if self.route is None:
            self.error = ERROR_NO_ROUTER
            if self.entry_point.traced:
                begin_trace(self, False)
            return self.answer(404, b"404 page not found\n", True)
        self.route.note_start()
        if self.route.traced:
            begin_trace(self, self.route.detailed)
            self.trace_router()
        return self.go_on(None)

    cdef int trace_router(self) except -1:
        """The request has come to a router, which may have a span."""
        if self.trace.sampled and self.trace.detailed:
            enter_router(self, self.route)
        return 0

    cdef int trace_question(self, Request question, str address) except -1:
        return trace_question(self, question, address) if self.trace != NULL else 0

    cdef int trace_reply(self, Reply reply) except -1:
        return trace_reply(self, reply) if self.trace != NULL else 0

    cdef int begin_subrequest(self, Service service) except -1:
        """Ask a service for lbcore itself: `request` is complete, and its client is a LocalStream."""
        self.is_subrequest = True
        self.service = service
        self.gates.first_step = 0
        self.phase = PHASE_CHOOSE
        return self.go_on(None)

    cdef int go_on(self, Pending settled) except -1:
        """Go through the phases that are left, until something has to be waited for, or an answer is made, or a server asked.

        settled  what was waited for; None: nothing was.
        """
        cdef int verdict
        if self.phase == PHASE_ROUTE:
            verdict = self.run_middlewares(settled)
            while verdict == PASS and self.route.children is not None:
                if not self.descend():
                    self.error = ERROR_NO_ROUTER
                    return self.answer(404, b"404 page not found\n", True)
                verdict = self.run_middlewares(None)
            if verdict != PASS:
                return self.send_middlewares_answer() if verdict == ANSWER else self.begin_wait()
            settled = None
            self.service = self.route.service
            self.phase = PHASE_CHOOSE
        if self.phase == PHASE_CHOOSE:
            settled = None                     # a pause
            if not self.choose():
                return self.no_server()
            self.phase = PHASE_GATES
        elif self.phase == PHASE_QUEUE:
            if (<Waiter>settled).server is None:
                return self.overloaded()
            self.attempt_at((<Waiter>settled).server)
            settled = None
            self.phase = PHASE_GATES
        if self.decision.gates is not None:
            verdict = self.gates.run(self.decision.gates, self.request, self.response, self, settled)
            if verdict != PASS:
                if verdict == WAIT:
                    return self.begin_wait()
                self.release_slot()
                return self.send_middlewares_answer()
        if self.pending is not None:
            raise RuntimeError("a middleware has called `wait`, and returned another verdict than WAIT")
        if self.attempt.server is None:
            return self.answer(503, self.decision.refusal, True)
        return self.ask_server()

    cdef int run_middlewares(self, Pending settled) except -1:
        """Have the request pass the middlewares of the router, from `passed` on. Returns a Verdict."""
        cdef tuple middlewares = self.route.middlewares
        cdef Request request = self.request
        cdef Response response = self.response
        cdef PyObject* middleware              # of `middlewares`
        cdef int verdict
        cdef bint detailed = self.trace != NULL and self.trace.detailed
        while self.passed < len(middlewares):
            middleware = item_of(<PyObject*>middlewares, self.passed)
            self.step = self.passed
            if settled is None:
                if detailed:
                    enter_middleware(self, self.route, self.passed)
                verdict = (<Middleware>middleware).on_request(request, response, self)
                if (<Middleware>middleware).sees_end and verdict != ANSWER:
                    self.owe_end(<Middleware>middleware)
            else:
                verdict = (<Middleware>middleware).on_settled(request, response, self, settled)
                settled = None
            if verdict != PASS:
                return verdict
            self.passed += 1
        self.gates.first_step = self.passed
        return PASS

    cdef bint descend(self) except -1:
        """Go on with the router below that takes the request as the middlewares have left it. Returns False if there is none."""
        cdef Route child
        self.request.follow_path()
        child = <Route>self.route.children.find(&self.request.head)
        if child is None:
            return False
        self.route = child
        child.note_start()
        if self.trace != NULL:
            self.trace_router()
        if self.explanation is not None:
            self.explanation.route = child
        return True

    cdef int settled(self, Pending pending) except -1:
        """Continue after a wait, with the request or with the answer."""
        return self.go_on_back(pending) if self.way_back.begun else self.go_on(pending)

    cdef str place(self):
        if self.gates.entered and self.step >= self.gates.first_step:
            return self.gates.place_of(self.step)
        return self.route.name if self.route.outer is None else self.route.place_of(self.step)

    cdef uint64_t now_ns(self) noexcept:
        return self.dialer.now_ns()

    cdef int leave_steps(self, Py_ssize_t step) except -1:
        self.leave_filters(step)
        self.end_steps(step)
        return 0

    cdef void end_steps(self, Py_ssize_t step) noexcept:
        """Call `on_end` of the middlewares from `step` on, the last one first, and drop what they keep."""
        cdef PyObject* ending = NULL           # what is called; the exchange's route or gate owns it
        while True:
            try:
                self.call_ends(step, &ending)
                return
            except Exception as error:
                _log.error("internal error of middleware %s at the end of an exchange", (<Middleware>ending).name, exc_info=error)

    cdef int call_ends(self, Py_ssize_t step, PyObject** ending) except -1:
        """`end_steps` as far as nothing fails."""
        cdef Slot* slot
        while self.n_slots:
            slot = &self.slots[self.n_slots - 1]
            if slot.step < step:
                break
            self.step = slot.step
            if slot.owed != NULL:
                ending[0] = slot.owed
                slot.owed = NULL
                (<Middleware>ending[0]).on_end(self.request, self.status, self)
            self.drop_slot()
        return 0


cdef int settle_port(Request request) except -1:
    """Say the port by the scheme that a trusted client has named, if it does: what middlewares make of that scheme changes no port."""
    if request.find(b"x-forwarded-proto", 17).len and not request.find(b"x-forwarded-port", 16).len:
        request.add_own(span_of(b"X-Forwarded-Port", 16), forwarded_port(request, request.head.encrypted))
    return 0


cdef Exchange exchange_take(EntryPoint entry_point, ClientStream client, Dialer dialer):
    """An exchange ready to parse a request into. Usually O(1) without a heap call."""
    global last_serial
    cdef WholeExchange exchange = <WholeExchange>freelist_take(&kept)
    if exchange is None:
        exchange = WholeExchange.__new__(WholeExchange)
    exchange.entry_point = entry_point
    last_serial += 1
    exchange.serial = last_serial
    exchange.client = client
    exchange.answer_sink = client
    exchange.dialer = dialer
    exchange.status = 0
    exchange.takes_body = exchange.body_lost = False
    exchange.error = -1
    exchange.retries = exchange.refusals = 0
    exchange.is_retry = False                  # the former one may have ended in the pause before it
    exchange.phase = PHASE_ROUTE
    exchange.passed = 0
    exchange.trace = NULL
    exchange.is_subrequest = exchange.body_ended = exchange.answer_ended = False
    exchange.started_ns = exchange.request_bytes = exchange.response_bytes = 0
    exchange.attempt.clear()
    exchange.way_back.clear()
    return exchange


def exchanges_kept() -> int:
    """The number of exchanges that wait for their next use, for a report."""
    return kept.count


cdef void exchange_give(Exchange given) noexcept:
    """The exchange is over and nothing of it is read any more."""
    cdef WholeExchange exchange = <WholeExchange>given
    if exchange.n_slots:
        exchange.end_steps(0)
    exchange.release_slot()
    if exchange.gates.entered:
        exchange.gates.clear()
    exchange.request.clear()
    exchange.response.clear()
    exchange.client = None
    exchange.stream = None
    exchange.answer_sink = exchange.answer_filters = None
    if exchange.hold is not None or exchange.shut is not None:
        exchange.hold = None
        exchange.shut = None
    exchange.request_sink = None
    if exchange.request_tail is not None:
        if exchange.recording is not None:
            exchange.recording.connect(None)   # it may live on, in a mirror's copy
        exchange.request_tail.connect(None)
        exchange.request_tail = None
        exchange.request_filters = None
    exchange.route = None
    exchange.service = None
    exchange.refused = None
    if exchange.recording is not None or exchange.replay is not None or exchange.copies is not None:
        exchange.recording = None
        exchange.replay = None
        exchange.copies = None
    if exchange.attempts is not None or exchange.explanation is not None:
        exchange.attempts = None
        exchange.explanation = None
    if exchange.tries is not None:
        if exchange.hedge_timer is not None:
            exchange.stop_hedging()
        exchange.tries = None
    exchange.asker.request = None
    exchange.asker.address = NULL
    exchange.decision.clear()
    freelist_give(&kept, exchange)
