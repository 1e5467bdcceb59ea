"""One exchange from its first byte to its last: route, middlewares, server, answer, and what happens when one fails."""

import logging

cimport cython
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from lbcore.http.framing cimport BODY_LENGTH, BODY_NONE
from lbcore.http.head cimport RequestHead
from lbcore.http.message cimport Message
from lbcore.http.number cimport put_decimal
from lbcore.http.reflect cimport reflect
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.sanitizer cimport POOLS
from lbcore.http.span cimport Span, span_bytes, span_eq, span_of
from lbcore.middleware.base cimport ANSWER, PASS, WAIT, Middleware, Pending, Reply, Tries
from lbcore.observability.record cimport Record
from lbcore.proxy.attempt cimport (
    NEXT_FALLBACK, NEXT_OTHER, NEXT_RETRY, NEXT_SAME, OUTCOME_BAD, OUTCOME_REFUSED, OUTCOME_STALE, OUTCOME_UNREACHED, Attempt,
    next_attempt,
)
from lbcore.proxy.copies cimport Copy, make_copy
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.explainer cimport explain_if_asked
from lbcore.proxy.gates cimport Gates
from lbcore.proxy.observation cimport observe
from lbcore.proxy.recording cimport Recording, Replay
from lbcore.http.sink cimport Filter, Sink
from lbcore.proxy.way_back cimport WayBack
from lbcore.routing.asker cimport Asker
from lbcore.routing.balancer cimport LoadBalancer
from lbcore.routing.decision cimport Decision, FailoverStep
from lbcore.routing.failover cimport Failover, most_repeatable, step_to_leave
from lbcore.routing.mirroring cimport Mirror
from lbcore.routing.queue cimport Waiter, WaitQueue
from lbcore.routing.route cimport Route
from lbcore.routing.server cimport Server
from lbcore.routing.service cimport Service
from lbcore.selection.clock cimport monotonic_ns
from lbcore.state.layout cimport (
    ERROR_BAD_REQUEST, ERROR_CLIENT_ABORT, ERROR_CLIENT_TIMEOUT, ERROR_EOF, ERROR_INTERNAL, ERROR_NO_ROUTER,
    ERROR_NO_SERVER, ERROR_REFUSED, ERROR_RESET, ERROR_RESOLVE, ERROR_RESOURCE, ERROR_TIMEOUT, ERROR_TLS,
)
from lbcore.state.counters import ERROR_NAMES

cdef enum:
    KEPT_EXCHANGES = 1024      # kept for reuse
    LONGEST_PAUSE_MS = 60000   # between two attempts
    PART_BYTES = 65536         # of an answer of lbcore's own, put at once

# Bodies of lbcore's own answers, as Traefik's clients know them.
cdef dict REFUSALS = {
    400: b"400 Bad Request",
    408: b"408 Request Timeout",
    417: b"",
    431: b"431 Request Header Fields Too Large",
    501: b"Unsupported transfer encoding",
    505: b"505 HTTP Version Not Supported: unsupported protocol version",
}
cdef dict FAILURES = {502: b"Bad Gateway", 503: b"Service Unavailable", 504: b"Gateway Timeout", 500: b"Internal Server Error"}
cdef Sink HELD = Sink()        # where the body of an answer goes while it waits: takes nothing
HELD.blocked = True
cdef Exchange kept = None      # the first of those that wait to be used again, linked by `next_kept`
cdef int kept_count = 0
cdef uint64_t last_serial = 0

_log = logging.getLogger("lbcore.proxy")


cdef class ClientStream(Sink):
    """The end a request came from, as its protocol implements it. As a sink it takes the body of the answer."""

    cdef int put_head(self, Response response) except -1:
        """Put the head of the final answer. The body follows as `response.framing` says."""
        return 0

    cdef int put_interim(self, Response response) except -1:
        """Put the head of a 1xx answer, if the client understands one."""
        return 0

    cdef int want_body(self) except -1:
        """The request's body may go on to `exchange.request_sink`: read, and put it there as far as that takes it.

        Its end is told to `Exchange.request_end`, a refusal by the sink to `Exchange.body_refused`.
        """
        return 0

    cdef int rewind(self) except -1:
        """Another server will be asked, for which the body begins anew, as far as the exchange has not recorded it."""
        return 0

    cdef int switch(self, ServerStream server) except -1:
        """The protocol was switched: carry bytes both ways until one side ends, then say `Exchange.tunnel_ended`."""
        return 0

    cdef int finish(self) except -1:
        """The answer is complete and the exchange over. Flush, then go on to the next request or close."""
        return 0

    cdef int abort(self) except -1:
        """The answer cannot be completed and the exchange is over: make the client see it."""
        return 0


cdef class ServerStream(Sink):
    """The end that answers, as its protocol implements it. As a sink it takes the body of the request.

    It reads the answer's head into `exchange.response`, and puts its body into `exchange.answer_sink`.
    """

    cdef bint was_connected(self) noexcept:
        """Whether its connection stood at some time: if not, the server has seen nothing of the request."""
        return True

    cdef bint was_reused(self) noexcept:
        """Whether its connection had answered before, so that it may have died unnoticed."""
        return False

    cdef bint was_refused(self) noexcept:
        """Whether the server has said that it did not look at the request, which may be sent once more, whatever it asks for."""
        return False

    cdef int start(self, Exchange exchange) except -1:
        """Send the head of a request. Failures are reported later, through `Exchange.server_failed`."""
        return 0

    cdef int resume(self) except -1:
        """The answer's sink takes more again: read on."""
        return 0

    cdef object take_socket(self):
        """The socket, with all it has received and has still to send, after a switch of protocols; it is the caller's from
        here on. None where a stream has no socket of its own: then bytes go through the sinks."""
        return None

    cdef int discard(self) except -1:
        """What is left of the answer is not wanted, and `exchange` None: read past it if that is short, else break off."""
        return self.abort()

    cdef int abort(self) except -1:
        """Break off. The exchange is not told."""
        return 0


cdef class Dialer:
    """Makes and keeps connections to servers, and keeps the time."""

    cdef int connect(self, Exchange exchange, bint anew) except -1:
        """`attach` a stream to the server of the attempt and start it: at once, or when its connection stands.

        anew  over a new connection, not one that has been idle.
        """
        return 0

    cdef int watch_queue(self, WaitQueue queue) except -1:
        """Call the queue's `tick` every few milliseconds while it is not empty."""
        return 0

    cdef int arm(self, Pending pending, int64_t timeout_ms) except -1:
        """Call `pending.expire` after that time, unless `pending.timer` is cancelled before."""
        return 0

    cdef uint64_t now_ns(self) noexcept:
        """The clock that `watch_queue` goes by, now."""
        return 0

    cdef int mirror(self, Exchange exchange, Request request, Mirror mirror, Recording body) except -1:
        """Send a copy of the exchange's request, which `request` is, to a mirror. Nothing of it is ever told."""
        return 0

    cdef Reply ask(self, Exchange exchange, Service service, Request request, bytes body, int64_t limit_bytes):
        """Send a request of lbcore's own to a service. The Reply is settled later, never within this call."""
        raise NotImplementedError


@cython.final
cdef class Pause(Pending):
    """The time between two attempts."""


@cython.final
cdef class Exchange(Context):
    """A request, its answer, and every decision taken on the way. Reused: get one with `exchange_take`."""

    def __cinit__(self):
        self.request = Request()
        self.response = Response()
        self.decision = Decision()
        self.attempt = Attempt()
        self.asker = Asker()
        self.gates = Gates()
        self.way_back = WayBack()

    # The request, up to the server

    cdef int begin(self) except -1:
        """The request's head is here: decide where it goes, and send it there."""
        cdef RequestHead* head = &self.request.head
        self.entry_point.stats.requests += 1
        if self.entry_point.observer is not None:
            self.started_ns = monotonic_ns()
        if self.request.is_last_hop:
            if reflect(self.request, self.response):
                return self.send_answer()
            return self.answer(200, b"", False)
        if span_eq(head.method, b"CONNECT", 7):
            self.error = ERROR_BAD_REQUEST
            return self.answer(501, b"Not Implemented", False)
        if self.forward.trusted:
            self.request.release_aliases()
        else:
            self.request.drop_managed()
        if self.request.framing.names_headers:
            self.request.drop_listed(self.entry_point.visible_hop_headers)
        self.forward.pass_host = True
        if not head.encrypted:
            self.route = <Route>self.entry_point.routes.find(head)
        elif self.entry_point.options_by_host is not None \
                and self.entry_point.misdirected(self.server_name, span_bytes(head.host)):
            self.error = ERROR_BAD_REQUEST
            return self.answer(421, b"Misdirected Request\n", True)
        else:
            self.route = <Route>self.entry_point.encrypted_routes.find(head)
        if self.entry_point.explainer is not None:
            self.explanation = explain_if_asked(self.entry_point, self.route, self.request, self.decision)
        if self.route is None:
            self.error = ERROR_NO_ROUTER
            return self.answer(404, b"404 page not found\n", True)
        return self.go_on(None)

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
            if verdict != PASS:
                return self.send_answer() if verdict == ANSWER else self.begin_wait()
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
                return self.send_answer()
        if self.pending is not None:
            raise RuntimeError("a middleware has called `wait`, and returned another verdict than WAIT")
        if self.attempt.server is None:
            return self.answer(503, self.decision.refusal, True)
        return self.ask_server()

    cdef int run_middlewares(self, Pending settled) except -1:
        """Have the request pass the middlewares of the router, from `passed` on. Returns a Verdict."""
        cdef Middleware middleware
        cdef tuple middlewares = self.route.middlewares
        cdef int verdict
        while self.passed < len(middlewares):
            middleware = <Middleware>middlewares[self.passed]
            self.step = self.passed
            if settled is None:
                verdict = middleware.on_request(self.request, self.response, self)
                if middleware.sees_end and verdict != ANSWER:
                    self.owe_end(middleware)
            else:
                verdict = middleware.on_settled(self.request, self.response, self, settled)
                settled = None
            if verdict != PASS:
                return verdict
            self.passed += 1
        self.gates.first_step = self.passed
        return PASS

    cdef list attempts_made(self):
        cdef Attempt attempt
        cdef list made = []
        for item in (self.attempts or []) + (self.rivals or []) + [self.attempt]:
            attempt = <Attempt>item
            if attempt.server is not None:
                made.append((attempt.server.key, attempt.sent_ns, attempt.origin_ns, attempt.ended_ns, attempt.origin_status,
                             attempt.error, attempt.abandoned))
        return made

    cdef str place(self):
        if self.gates.entered and self.step >= self.gates.first_step:
            return self.gates.place_of(self.step)
        return self.route.name

    # Waiting

    cdef int wait(self, Pending pending, int64_t timeout_ms) except -1:
        if self.pending is not None or timeout_ms <= 0:
            raise ValueError("an exchange waits for one thing at a time, and not for ever")
        pending.context = self
        self.pending = pending
        return self.dialer.arm(pending, timeout_ms)

    cdef Reply ask(self, object service, Request request, bytes body, int64_t limit_bytes, int64_t timeout_ms):
        cdef Reply reply
        if self.pending is not None or timeout_ms <= 0:
            raise ValueError("an exchange waits for one thing at a time, and not for ever")
        reply = self.dialer.ask(self, <Service?>service, request, body, limit_bytes)
        self.wait(reply, timeout_ms)
        return reply

    cdef int begin_wait(self) except -1:
        """A middleware has said that the exchange waits. What is settled already is not waited for."""
        if self.pending is None:
            raise RuntimeError("a middleware has an exchange wait for nothing")
        if self.settled_early:
            return self.settled(self.end_wait())
        self.waiting = True
        return 0

    cdef int resume(self, Pending pending) except -1:
        cdef uint64_t serial = self.serial
        if self.pending is not pending:
            return 0
        if not self.waiting:
            self.settled_early = True
            return 0
        self.end_wait()
        try:
            self.settled(pending)
        except Exception as error:
            self.internal_error(error, serial)      # it must not reach the one that has settled it
        return 0

    cdef int settled(self, Pending pending) except -1:
        """What was waited for is here: go on, with the request or with the answer."""
        return self.go_on_back(pending) if self.way_back.begun else self.go_on(pending)

    cdef Pending end_wait(self):
        """Wait no more. Returns what was waited for."""
        cdef Pending pending = self.pending
        self.pending = None
        self.waiting = self.settled_early = False
        pending.context = None
        if pending.timer is not None:
            pending.timer.cancel()
            pending.timer = None
        return pending

    # Choosing

    cdef Server find_server(self):
        """The server that the service chooses, or None. It goes by the request as no gate has changed it."""
        cdef Request request = self.request
        if self.gates.entered:
            request = self.gates.behind(0, request)
        self.asker.request = request
        self.asker.address = request.head.client
        return self.service.choose(self.asker, self.decision)

    cdef bint choose(self) except *:
        """Choose a server for a new attempt. False: there is none."""
        self.attempt_at(self.find_server())
        return self.attempt.server is not None

    cdef int attempt_at(self, Server server) except -1:
        """Make another attempt the present one, at a server that was chosen; None: at none so far."""
        if self.attempt.server is not None:
            self.keep_attempt()
        self.attempt.server = server
        if server is not None:
            if self.is_retry:
                self.is_retry = False
                server.stats.retries += 1
            self.attempt.balancer = <LoadBalancer>self.decision.balancer
            self.forward.pass_host = self.attempt.balancer.pass_host
        return 0

    cdef int keep_attempt(self) except -1:
        """The present attempt is one of the past."""
        if self.attempts is None:
            self.attempts = []
        self.attempts.append(self.attempt)
        self.attempt = Attempt()
        self.attempt.clear()
        return 0

    cdef int release_slot(self) noexcept:
        """The server that was chosen is not asked: what was taken there for this request is free."""
        cdef Attempt attempt = self.attempt
        if attempt.server is not None:
            if self.decision.slot_taken:
                self.decision.slot_taken = False
                attempt.balancer.let_go(attempt.server)
            attempt.server = None
            attempt.balancer = None
        return 0

    cdef int no_server(self) except -1:
        """None was chosen: wait, if all are full; else answer."""
        if self.decision.queue is not None:
            return self.line_up()
        return self.overloaded()

    cdef int line_up(self) except -1:
        """Wait in the queue that `decision` names. A server that has become free is taken at once.

        Nothing of the request's body is read meanwhile. What services decided before (copies, cookies, a fallback) stays.
        """
        cdef WaitQueue queue = <WaitQueue>self.decision.queue
        cdef Waiter waiter = Waiter.__new__(Waiter)
        self.attempt.balancer = <LoadBalancer>queue.service
        waiter.asker = self.asker
        waiter.decision = self.decision
        waiter.session_server = self.decision.session_server
        if not queue.enter(waiter, self.dialer.now_ns()):
            return self.overloaded()
        self.phase = PHASE_QUEUE
        waiter.context = self
        self.pending = waiter
        self.waiting = True
        self.dialer.watch_queue(queue)
        return queue.wake()

    cdef int overloaded(self) except -1:
        """No server may be picked, or none has had room in time: a fallback is asked if there is one, else 503 is answered."""
        self.error = ERROR_NO_SERVER
        self.decision.queue = None         # the fallback, if it has no server either, has no queue to wait in
        if self.follow(OUTCOME_BAD, 503):
            return 0
        self.phase = PHASE_GATES           # the answer passes the middlewares of the services that have no server
        return self.go_on(None)

    # Attempts

    cdef int ask_server(self) except -1:
        """Send the request to the server of the attempt; its body is kept if it may have to be sent once more."""
        self.phase = PHASE_SERVER
        if (self.decision.mirrors is None and self.decision.failover is None and self.recording is None and self.tries is None) \
                or self.start_recording():
            return self.dispatch(False)
        return 0

    cdef int dispatch(self, bint again) except -1:
        """Send the request to the server chosen, over a connection that is idle; `again`: over a new one, in the same place."""
        cdef Attempt attempt = self.attempt
        if again:
            attempt.server.stats.requests += 1
        else:
            attempt.balancer.note_start(attempt.server)
            attempt.counted = True
            self.decision.slot_taken = False
        if attempt.balancer.times or self.entry_point.observer is not None:
            attempt.sent_ns = monotonic_ns()
        return self.dialer.connect(self, again)

    cdef bint follow(self, int outcome, int status) except *:
        """Make the attempt that may follow a failed one. False: none does, and `status` is the answer."""
        cdef bint repeatable = self.request.is_idempotent() if outcome == OUTCOME_STALE else self.is_repeatable()
        cdef int step = next_attempt(self.attempt, outcome, status, repeatable, self.decision, self.tries_left(), self.tried)
        if step == NEXT_SAME:
            self.ask_same()
            return True
        if step == NEXT_OTHER:
            if self.ask_other():
                return True
            step = next_attempt(self.attempt, OUTCOME_BAD, status, repeatable, self.decision, self.tries_left(), self.tried)
        if step == NEXT_RETRY:
            return self.retry()
        if step == NEXT_FALLBACK:
            self.fall_back(status)
            return True
        return False

    cdef int set_tries(self, Tries tries) except -1:
        self.tries = tries
        self.tried = 1
        self.is_retry = False
        self.decision.most_tries = tries.most
        self.tries_until_ns = self.dialer.now_ns() + <uint64_t>tries.within_ms * 1000000 if tries.within_ms else 0
        return 0

    cdef Tries tries_left(self):
        """What the route wants, if it still does; None: no other attempt for an answer of a server."""
        if self.tries is None or (self.tries_until_ns and self.dialer.now_ns() >= self.tries_until_ns) \
                or not (self.tries.repeats_unsafe or self.request.is_idempotent()):
            return None
        return self.tries

    cdef bint retry(self) except *:
        """The route wants another answer: what the service chooses now is asked, after a pause if the route says so."""
        cdef Pause pause
        cdef int64_t pause_ms = self.tries.pause_ms << min(self.tried - 1, 20)
        cdef uint64_t serial = self.serial
        self.discard_answer()
        if self.recording is not None and self.recording is not self.request_tail:
            # Filters behind the recording have seen some of the body, which comes once more: their gates are passed anew.
            self.gates.go_back(min(self.recorded_behind, len(self.gates.entered)), self.request, self)
        self.decision.choose_anew()
        self.tried += 1
        self.retries += 1
        self.is_retry = True
        self.prepare_again(self.service)
        try:
            if not pause_ms:
                self.go_on(None)
                return True
            pause = Pause.__new__(Pause)
            self.wait(pause, min(pause_ms, <int64_t>LONGEST_PAUSE_MS))
            self.waiting = True
        except Exception as error:
            self.internal_error(error, serial)
        return True

    cdef bint hedge(self) except *:
        """Begin one more attempt beside those under way: the first answer is the client's, and ends the others. At another
        server, behind the same gates, for a request without a body. False: this cannot be, and nothing was done."""
        cdef Decision decision = self.decision
        cdef LoadBalancer balancer = self.attempt.balancer
        cdef list cookies = decision.cookies, gates = decision.gates, path = decision.path
        cdef Server server
        if self.phase != PHASE_SERVER or self.way_back.begun or self.stream is None \
                or self.request.framing.body != BODY_NONE or self.request.framing.upgrade:
            return False
        decision.begin_again(self.attempt.server)
        server = self.find_server()
        if server is None or decision.gates != gates:
            if server is not None and decision.slot_taken:
                decision.slot_taken = False
                (<LoadBalancer>decision.balancer).let_go(server)
            decision.cookies, decision.gates, decision.path = cookies, gates, path
            decision.balancer = balancer
            decision.queue = None
            return False
        self.set_aside(cookies)
        self.attempt_at(server)
        self.retries += 1
        server.stats.retries += 1
        self.dispatch(False)
        return True

    cdef int set_aside(self, list cookies) except -1:
        """The present attempt goes on, and another one is made the present one."""
        cdef Attempt attempt = self.attempt
        attempt.stream, attempt.response, attempt.cookies = self.stream, self.response, cookies
        if self.rivals is None:
            self.rivals = []
        self.rivals.append(attempt)
        self.attempt = Attempt()
        self.attempt.clear()
        self.response = Response()
        self.stream = None
        return 0

    cdef int make_present(self, ServerStream stream) except -1:
        """Of several attempts under way, have that of this stream be the present one."""
        cdef Attempt attempt
        cdef Py_ssize_t i
        if stream is self.stream:
            return 0
        for i in range(len(self.rivals)):
            attempt = <Attempt>self.rivals[i]
            if attempt.stream is stream:
                self.attempt.stream, self.attempt.response = self.stream, self.response
                self.attempt.cookies = self.decision.cookies
                self.rivals[i] = self.attempt
                return self.take_up(attempt)
        return 0

    cdef int take_up(self, Attempt attempt) except -1:
        """Make an attempt that is under way the present one."""
        self.attempt = attempt
        self.response = attempt.response
        self.decision.cookies = attempt.cookies
        self.decision.balancer = attempt.balancer
        self.forward.pass_host = attempt.balancer.pass_host
        self.forward.server_authority = attempt.server.authority
        self.attach(<ServerStream>attempt.stream)
        attempt.stream = attempt.response = attempt.cookies = None
        return 0

    cdef int go_on_with_rival(self) except -1:
        """The present attempt has failed, and another one is under way."""
        cdef Attempt rival = <Attempt>self.rivals.pop()
        self.attempts = [] if self.attempts is None else self.attempts
        self.attempts.append(self.attempt)
        if not self.rivals:
            self.rivals = None
        self.error = -1
        return self.take_up(rival)

    cdef int end_rivals(self) except -1:
        """The present attempt alone is wanted: break off the others."""
        cdef Attempt attempt
        cdef ServerStream stream
        cdef list rivals = self.rivals
        self.rivals = None
        for item in rivals:
            attempt = <Attempt>item
            stream = <ServerStream>attempt.stream
            attempt.stream = attempt.response = attempt.cookies = None
            attempt.abandoned = True
            if attempt.sent_ns:
                attempt.ended_ns = monotonic_ns()
            self.attempts = [] if self.attempts is None else self.attempts
            self.attempts.append(attempt)
            attempt.counted = False
            attempt.balancer.note_end(attempt.server)
            stream.exchange = None
            stream.abort()
        return 0

    cdef bint is_repeatable(self) noexcept:
        """Whether all of the request that was sent can be sent once more."""
        if self.request.framing.body == BODY_NONE or self.is_subrequest or self.is_replayable():
            return True
        return self.request_bytes == 0 and not self.body_ended

    cdef int ask_same(self) except -1:
        """The connection was dead before the request was sent: over a new one, in its place at the server."""
        cdef Attempt before = self.attempt
        self.keep_attempt()
        self.attempt.server = before.server
        self.attempt.balancer = before.balancer
        self.attempt.again = self.attempt.counted = True
        before.counted = False
        self.retries += 1
        before.server.stats.retries += 1
        self.stream = None
        self.request_sink = None
        return self.dispatch(True)

    cdef bint ask_other(self) except *:
        """No connection to the server could be made: choose another one. False: there is none."""
        cdef Decision decision = self.decision
        cdef Server server
        cdef list cookies = decision.cookies, gates = decision.gates, path = decision.path
        decision.begin_again(self.attempt.server)
        server = self.find_server()
        if server is None and decision.queue is None:
            # No other: the answer is about the one that failed.
            decision.cookies, decision.gates, decision.path = cookies, gates, path
            return False
        self.attempt_at(server)
        self.retries += 1
        if server is None:
            self.line_up()
            return True
        server.stats.retries += 1
        self.phase = PHASE_GATES
        self.go_on(None)
        return True

    cdef int fall_back(self, int status) except -1:
        """Ask the fallback of the innermost Failover that drops this status, with which its main service has answered."""
        cdef FailoverStep step = step_to_leave(self.decision.failover, status)
        cdef Failover failover = <Failover>step.service
        cdef uint64_t serial = self.serial
        if not self.start_recording():     # one that has waited for a server and got none
            return 0
        self.discard_answer()
        if self.recording is not None and self.recording is not self.request_tail:
            # Filters behind the recording have seen some of the body, which comes once more: their gates are passed anew.
            self.gates.go_back(min(self.recorded_behind, len(self.gates.entered)), self.request, self)
        self.decision.fall_back(step)
        failover.fallback.stats.requests += 1
        try:
            self.ask_again(failover.fallback.service)
        except Exception as error:
            self.internal_error(error, serial)
        return 0

    cdef int ask_again(self, Service service) except -1:
        """Ask a service as if the request had just passed its router; no server is at work for it, and it is repeatable."""
        self.prepare_again(service)
        return self.go_on(None)

    cdef int prepare_again(self, Service service) except -1:
        """Be as if the request had just passed its router, on its way to a service."""
        self.response.clear()
        self.error = -1
        self.client.rewind()
        self.attempt_at(None)
        self.service = service
        self.phase = PHASE_CHOOSE
        return 0

    # The request's body

    cdef bint start_recording(self) except *:
        """Have the body kept from here on, for the Failover and the mirrors that the decision names. False: it is too large to
        be sent a second time, which was answered."""
        cdef Recording recording = self.recording
        cdef int64_t most = most_repeatable(self.decision.failover)
        cdef int64_t length
        if self.is_subrequest:             # has its body, and makes no copies of its own
            return True
        if recording is not None and recording.size == 0 and not recording.complete:
            self.place_recording()         # for an attempt that did not come to a server
        if self.decision.failover is None and self.repeats_answers():
            if self.request.framing.body != BODY_NONE and self.replay is None and self.is_repeatable():
                self.begin_replay(self.repeatable_bytes(self.tries.max_body_bytes), self.request.framing.length, False)
        elif self.decision.failover is None:
            if self.replay is not None and recording.size == 0 and not recording.complete:
                self.end_replay()          # for a Failover that was asked before
        elif self.request.framing.body != BODY_NONE:
            length = max(self.request.framing.length, 0 if recording is None else recording.size)
            if 0 <= most < length:
                self.lose_server()
                self.too_large()
                return False
            if self.is_replayable():
                self.replay.limit = self.repeatable_bytes(most)
                self.replay.required = most >= 0
            elif self.is_repeatable():
                self.begin_replay(self.repeatable_bytes(most), length, most >= 0)
        if self.decision.mirrors is not None and self.decision.copied < len(self.decision.mirrors) \
                and not self.request.framing.upgrade:
            self.make_copies()
        return True

    cdef bint repeats_answers(self) noexcept:
        """Whether the route may want another answer than that of the first server."""
        return self.tries is not None and len(self.tries.statuses) > 0

    cdef int64_t repeatable_bytes(self, int64_t most) noexcept:
        """What a Failover without a limit of its own may keep is a share of the instance's budget."""
        return most if most >= 0 else self.entry_point.budget.share()

    cdef int begin_replay(self, int64_t limit, int64_t length, bint required) except -1:
        """Keep the body for a fallback; one that will be longer than the budget allows is not begun."""
        if length > limit:
            self.entry_point.budget.row.bodies_shed += 1
            return 0
        if self.recording is None:
            self.add_recording()
        self.replay = Replay()
        self.replay.budget = self.entry_point.budget
        self.replay.limit = limit
        self.replay.required = required
        if not self.recording.join(self.replay):
            self.replay = None
        return 0

    cdef int end_replay(self) except -1:
        """No fallback wants the body any more."""
        if self.recording is None:
            return 0
        if self.replay is not None:
            self.recording.leave(self.replay)
            self.replay = None
        if self.copies is None or self.recording.is_spent():
            self.drop_recording()
        return 0

    cdef int make_copies(self) except -1:
        """Copy the head for each mirror, before the server is asked: nothing of it may be left when it has answered."""
        cdef Decision decision = self.decision
        cdef Mirror mirror
        cdef Copy copy
        cdef Py_ssize_t i
        for i in range(decision.copied, len(decision.mirrors)):
            mirror = <Mirror>decision.mirrors[i]
            copy = make_copy(self.gates.behind(decision.mirrored_behind[i], self.request), mirror)
            if copy is None:
                continue
            if not copy.has_body:
                self.send_copy(copy, None)
                continue
            if self.recording is None:
                if not self.is_repeatable():
                    copy.shed()
                    continue
                self.add_recording()
            if self.recording.join(copy):
                if self.copies is None:
                    self.copies = []
                self.copies.append(copy)
        decision.copied = len(decision.mirrors)
        if self.copies is not None and self.recording.complete:
            self.send_copies()
        return 0

    cdef int send_copies(self) except -1:
        """The request is complete: the mirrors get it."""
        cdef Copy copy
        cdef list copies = self.copies
        self.copies = None
        for item in copies:
            copy = <Copy>item
            if copy.overflowed:
                continue                   # which was counted
            if copy.mirror.has_room(0):
                self.send_copy(copy, self.recording)
            else:
                copy.shed()
        return 0

    cdef int send_copy(self, Copy copy, Recording body) except -1:
        """Hand a copy over; what it is charged with is its own from now on. What goes wrong there is not the client's."""
        copy.charged = 0
        try:
            self.dialer.mirror(self, copy.request, copy.mirror, body)
        except Exception as error:
            _log.error("internal error in a copy for %s", copy.mirror.child.name, exc_info=error)
        return 0

    cdef void shed_copies(self) noexcept:
        """The request will not be complete: the mirrors do not get it."""
        for item in self.copies:
            if not (<Copy>item).overflowed:
                (<Copy>item).shed()
        self.copies = None

    cdef int too_large(self) except -1:
        """Refuse a body that could not be sent a second time."""
        self.error = ERROR_BAD_REQUEST
        return self.answer(413, b"Request body too large\n", True)

    # The way of the request's body: client, filters, the recording, stream

    cdef void attach(self, ServerStream stream) noexcept:
        """A stream to the server chosen is there, if not connected yet: the body goes to it from now on."""
        self.stream = stream
        if self.request_tail is None:
            self.request_sink = stream
        else:
            self.request_tail.connect(stream)
            self.request_sink = self.request_filters
            self.request_sink.blocked = True       # until `server_ready` has asked the whole chain

    cdef int add_request_filter(self, Filter filter) except -1:
        filter.step = self.step
        if self.request_tail is None:
            self.request_filters = filter
        else:
            self.request_tail.connect(filter)
        self.request_tail = filter
        return 0

    cdef int add_answer_filter(self, Filter filter) except -1:
        cdef Filter last
        filter.step = self.step
        filter.connect(self.client)
        if self.answer_filters is self.client:
            self.answer_filters = filter
            return 0
        last = <Filter>self.answer_filters
        while last.next is not self.client:
            last = <Filter>last.next
        last.connect(filter)
        return 0

    cdef int leave_steps(self, Py_ssize_t step) except -1:
        self.leave_filters(step)
        if self.ends is not None:
            self.end_steps(step)
        if self.states is not None:
            del self.states[step:]
        return 0

    cdef void end_steps(self, Py_ssize_t step) noexcept:
        """Tell the middlewares from `step` on that the exchange is over for them."""
        cdef Py_ssize_t last = len(self.ends) - 1
        cdef tuple item
        while last >= 0:
            item = <tuple>self.ends[last]
            self.step = <Py_ssize_t>item[0]
            if self.step < step:
                break
            del self.ends[last]
            last -= 1
            try:
                (<Middleware>item[1]).on_end(self.request, self.status, self)
            except Exception as error:
                _log.error("internal error of middleware %s at the end of an exchange", (<Middleware>item[1]).name, exc_info=error)

    cdef int leave_filters(self, Py_ssize_t step) except -1:
        """Take the filters of the middlewares from `step` on out of the request's chain, which leads to no stream just now."""
        cdef Filter filter
        cdef list kept = []
        if self.request_tail is None:
            return 0
        for item in self.listed_filters():
            filter = <Filter>item
            if filter.step < step or filter is self.recording:
                kept.append(filter)
            else:
                filter.connect(None)
        return self.link_filters(kept)

    cdef list listed_filters(self):
        """The filters of the request's chain, the client's side first."""
        cdef list found = []
        cdef Filter filter = self.request_filters
        while filter is not None:
            found.append(filter)
            filter = None if filter is self.request_tail else <Filter>filter.next
        return found

    cdef int link_filters(self, list filters) except -1:
        """Have these be the request's chain. One whose next filter stays goes on as it was."""
        cdef Py_ssize_t i, last = len(filters) - 1
        if last < 0:
            self.request_filters = self.request_tail = None
            return 0
        for i in range(last):
            if (<Filter>filters[i]).next is not filters[i + 1]:
                (<Filter>filters[i]).connect(<Filter>filters[i + 1])
        self.request_filters = <Filter>filters[0]
        if self.request_tail is not filters[last]:
            self.request_tail = <Filter>filters[last]
            self.request_tail.connect(self.stream)
        return 0

    cdef int add_recording(self) except -1:
        """Keep the body as it goes on to the server, which is not chosen or not asked yet."""
        self.recording = Recording(self.entry_point.budget)
        return self.place_recording()

    cdef int place_recording(self) except -1:
        """Put the recording, which has seen nothing so far, where all that may be asked for the request have the same body:
        before the filters of gates behind the outermost Failover. Copies get the body as it is there, too."""
        cdef FailoverStep outermost = self.decision.failover
        cdef list filters = [item for item in self.listed_filters() if item is not self.recording]
        cdef Py_ssize_t step, place = 0
        self.recorded_behind = 0 if self.repeats_answers() else len(self.gates.entered)
        if outermost is not None:
            while outermost.outer is not None:
                outermost = outermost.outer
            # A request that no service has taken, for want of a server, has not come to the gates in front of the Failover.
            self.recorded_behind = min(outermost.before.gates, self.recorded_behind)
        step = self.gates.step_of(self.recorded_behind)
        while place < len(filters) and (<Filter>filters[place]).step < step:
            place += 1
        filters.insert(place, self.recording)
        return self.link_filters(filters)

    cdef int drop_recording(self) except -1:
        """The body is not needed again: it goes on past the recording, spliced where that is possible."""
        cdef Recording recording = self.recording
        cdef Sink behind
        if recording is None:
            return 0
        behind = self.stream if recording is self.request_tail else recording.next
        self.link_filters([item for item in self.listed_filters() if item is not recording])
        self.recording = None
        self.copies = None                     # without owners: each of these was shed, and counted, already
        recording.connect(None)
        if self.request_sink is recording:
            self.request_sink = behind
        return 0

    cdef int request_end(self, Message trailers) except -1:
        """The request is complete."""
        cdef int status
        self.body_ended = True
        status = self.request_sink.end(trailers)
        if status:
            return self.body_refused(status)
        if self.copies is not None and self.recording.complete:
            self.send_copies()
        return self.request_sink.flush()

    cdef int body_refused(self, int status) except -1:
        """A filter does not let the request's body pass."""
        self.lose_server()
        self.error = ERROR_BAD_REQUEST
        if self.status == 0:
            return self.too_large() if status == 413 else self.answer(status, REFUSALS.get(status, b""), True)
        self.count()
        return self.client.abort()

    cdef int server_ready(self) except -1:
        """The server's end takes more of the request's body: first what filters have kept back, or recorded."""
        cdef int status
        if self.request_filters is None and self.request.framing.body == BODY_NONE:
            return 0                           # there is none
        if self.request_filters is not None:
            status = self.request_sink.drained()
            if status:
                return self.body_refused(status)
            if self.copies is not None and self.recording.complete:
                self.send_copies()
            self.request_sink.flush()
            if self.recording is not None and self.decision.failover is None and self.copies is None \
                    and not self.repeats_answers() \
                    and not self.recording.complete and not self.recording.is_behind():
                self.end_replay()          # the rest of it need not be kept
            if self.request_sink.blocked:
                return 0
        return self.client.want_body()

    # The answer

    cdef int refuse(self, int status, int error) except -1:
        """Answer a request that was not understood; its connection cannot go on."""
        self.entry_point.stats.requests += 1
        if self.entry_point.observer is not None:
            self.started_ns = monotonic_ns()
        self.error = error
        self.request.framing.keep_alive = False
        if status == 400 and self.request.lacks_host:
            return self.answer(400, b"400 Bad Request: missing required Host header", True)
        return self.answer(status, REFUSALS.get(status, b""), True)

    cdef int answer(self, int status, bytes text, bint plain) except -1:
        """Answer in the server's place. `text` has to be a constant."""
        cdef Response response = self.response
        response.clear()
        response.status = status
        response.text = span_of(text, len(text))
        if plain:
            response.append(span_of(b"Content-Type", 12), span_of(b"text/plain; charset=utf-8", 25))
            response.append(span_of(b"X-Content-Type-Options", 22), span_of(b"nosniff", 7))
        return self.send_answer()

    cdef int send_answer(self) except -1:
        """Send the answer that was made in `response`: status, headers, `text`. It may come instead of another one that waits."""
        if self.pending is not None:
            self.end_wait().cancel()
        if self.way_back.begun:
            self.answer_filters = self.client
            self.answer_ended = False
        self.frame_answer()
        self.go_back(None)
        return 0

    cdef int frame_answer(self) except -1:
        """What lbcore's own answer needs beside status, headers and `text`, which stand in `response`."""
        cdef Response response = self.response
        cdef char* digits = response.alloc(20)
        response.minor_version = 1
        response.reason = span_of(NULL, 0)
        response.append(span_of(b"Content-Length", 14), span_of(digits, put_decimal(digits, response.text.len) - digits))
        response.framing.body = BODY_LENGTH if response.text.len and not self.request.is_head else BODY_NONE
        response.framing.length = response.text.len
        response.framing.names_headers = False
        return 0

    cdef int go_back(self, Pending settled) except -1:
        """Have the answer in `response` pass the middlewares that are left on its way back, and send its head. Returns a Sender.

        settled  what was waited for; None: nothing was.
        """
        cdef int verdict = PASS
        if not self.way_back.begun:
            self.begin_way_back()
        while self.way_back.left or settled is not None:
            verdict = self.way_back.run(self.route, self.gates, self.request, self.response, self, settled)
            settled = None
            if verdict == ANSWER:
                self.replace_answer()
            elif verdict == WAIT and self.settled_early:
                settled = self.end_wait()
            else:
                break
        if verdict == WAIT:
            self.begin_wait()
            self.answer_sink = HELD            # nothing of the body is read
            return SENDER_WAITS
        if self.pending is not None:
            raise RuntimeError("a middleware has called `wait`, and returned another verdict than WAIT")
        if self.explanation is not None:
            self.explanation.put(self.request, self.response, self.outcome())
        self.status = self.response.status
        self.answer_sink = self.answer_filters
        self.client.put_head(self.response)
        if self.stream is not None:
            return SENDER_STREAM
        self.answer_ended = False              # a server's answer without a body has ended meanwhile: its end comes next
        self.put_answer()
        return SENDER_EXCHANGE

    cdef int go_on_back(self, Pending settled) except -1:
        """What the answer has waited for is here."""
        if self.go_back(settled) != SENDER_STREAM:
            return 0
        if self.status == 101:
            return self.client.switch(self.stream)
        self.client.flush()
        return self.stream.resume()

    cdef int begin_way_back(self) except -1:
        """There is an answer. From here on no other server is asked."""
        self.way_back.begin(self.route, self.passed, self.gates)
        self.answer_filters = self.client      # filters are those of this answer
        if self.decision.cookies is not None:
            self.set_cookies()
        return 0

    cdef int replace_answer(self) except -1:
        """A middleware on the way back has put another answer into `response`: what there was of the other's body is dropped,
        with the filters that had it to change."""
        self.discard_answer()
        self.response.drop(b"content-length", 14)
        self.response.drop(b"transfer-encoding", 17)
        self.answer_filters = self.client
        self.answer_ended = False
        return self.frame_answer()

    cdef int discard_answer(self) except -1:
        cdef ServerStream stream = self.stream
        if stream is not None:
            self.leave_server()
            stream.exchange = None
            stream.discard()
        return 0

    cdef int put_answer(self) except -1:
        """Put what is left of the answer that is lbcore's own, and its end; the exchange is over when the filters have passed
        all of it on. Goes on at `client_drained`."""
        cdef Sink sink = self.answer_sink
        cdef Span part
        cdef int status
        while self.response.text.len:
            if sink.blocked:
                return 0
            part = span_of(self.response.text.ptr, min(self.response.text.len, PART_BYTES))
            self.response.text = span_of(part.ptr + part.len, self.response.text.len - part.len)
            status = sink.put(part)
            if status:
                return self.answer_refused(status)
        if not self.answer_ended:
            self.answer_ended = True
            status = sink.end(None)
            if status:
                return self.answer_refused(status)
        return self.finish()

    cdef int finish(self) except -1:
        """The answer's end was put: the exchange is over when the filters have passed it on."""
        if self.answer_sink is not self.client and self.answer_sink.blocked:
            return 0
        self.count()
        return self.client.finish()

    cdef dict outcome(self):
        """What an explanation tells of the exchange."""
        cdef Attempt attempt = self.attempt
        found = {}
        if self.route is not None and self.phase == PHASE_ROUTE and self.passed < len(self.route.middlewares):
            found["answeredBy"] = (<Middleware>self.route.middlewares[self.passed]).name
        elif self.gates.at_work() is not None:
            found["answeredBy"] = self.gates.at_work().name
        if names := self.gates.names():
            found["serviceMiddlewares"] = names
        if attempt.server is not None:
            found["server"] = attempt.server.key
        if self.attempts is not None:
            found["attempts"] = [outcome_of(<Attempt>item) for item in self.attempts]
        if self.retries:
            found["retries"] = self.retries
        if self.error >= 0:
            found["error"] = ERROR_NAMES[self.error]
        return found

    cdef int set_cookies(self) except -1:
        """Tell the client where its session is: the services' cookies, the outermost one's first."""
        cdef bytes line
        cdef char* copy
        for line in self.decision.cookies:
            copy = self.response.alloc(len(line) + 1)
            memcpy(copy, <char*>line, len(line))
            self.response.append(span_of(b"Set-Cookie", 10), span_of(copy, len(line)))
        return 0

    cdef int response_head(self) except -1:
        """The server's final head is in `response`. Returns 0, or 1: the stream is none of this exchange any more, since its
        answer is not the one that the client gets."""
        cdef Attempt attempt = self.attempt
        cdef int status = self.response.status, sender
        cdef uint64_t now_ns = 0
        attempt.server.stats.responses[status // 100 if status < 600 else 0] += 1
        attempt.origin_status = status
        if attempt.balancer.times or self.entry_point.observer is not None:
            now_ns = monotonic_ns()
            attempt.origin_ns = now_ns - attempt.sent_ns
            attempt.server.stats.first_byte_ns += attempt.origin_ns
        if status >= 500:
            attempt.balancer.note_failure(attempt.server)
        else:
            attempt.balancer.note_success(attempt.server)
            if attempt.balancer.times:
                attempt.balancer.note_latency(attempt.server, attempt.origin_ns, now_ns)
        if self.rivals is not None:
            self.end_rivals()
        if (self.decision.failover is not None or self.tries is not None) and self.follow(OUTCOME_BAD, status):
            return 1
        if self.replay is not None:
            self.replay.required = False
            if not self.recording.is_behind():
                self.end_replay()          # this answer counts
        sender = self.go_back(None)
        if sender == SENDER_WAITS:
            return self.stream is None
        return sender == SENDER_EXCHANGE

    cdef int interim_head(self) except -1:
        """The head of a 1xx answer is in `response`; the final one is still to come."""
        if self.decision.failover is None and self.rivals is None and not self.repeats_answers():
            # Else nothing is certain before the status.
            self.client.put_interim(self.response)
        self.response.clear()
        return self.client.flush()

    cdef int switch_protocols(self) except -1:
        """The server has switched to the protocol that the client asked for; the head that says so is in `response`."""
        if self.response_head() or self.pending is not None:
            return 0
        return self.client.switch(self.stream)

    cdef int answer_refused(self, int status) except -1:
        """A filter does not let the rest of the answer's body pass: the client has to see that it is incomplete."""
        self.error = ERROR_INTERNAL
        self.lose_server()
        self.count()
        return self.client.abort()

    cdef int response_end(self) except -1:
        """The server's answer is complete, its end was put; its connection has taken itself back."""
        self.leave_server()
        self.answer_ended = True
        return 0 if self.pending is not None else self.finish()

    cdef int server_failed(self, int error, bint heard) except -1:
        """The server's end broke and closed.

        heard  some of the answer had come. If not, and the connection had been idle before, it was dead already when the
               request was sent.
        """
        cdef Attempt attempt = self.attempt
        cdef bint reused = self.stream.was_reused()
        cdef bint connected = self.stream.was_connected()
        cdef bint refused = self.stream.was_refused()
        cdef int status = 502
        attempt.error = error
        if refused and self.rivals is None and not self.status and not attempt.again and self.follow(OUTCOME_REFUSED, status):
            return 0
        if reused and not heard and self.rivals is None and not self.status and (error == ERROR_EOF or error == ERROR_RESET) \
                and self.follow(OUTCOME_STALE, status):
            return 0
        self.leave_server()
        if error == ERROR_REFUSED or error == ERROR_RESOLVE or error == ERROR_TLS:
            attempt.server.stats.connect_errors += 1
        if error != ERROR_RESOURCE and not (reused and not heard):
            attempt.balancer.note_failure(attempt.server)
        if self.rivals is not None:
            return self.go_on_with_rival()
        self.error = error
        if self.status:
            self.count()
            return self.client.abort()
        if error == ERROR_TIMEOUT:
            status = 504
        elif error == ERROR_RESOURCE:
            status = 503
        elif error == ERROR_INTERNAL:
            status = 500
        self.error = -1
        if not self.way_back.begun \
                and self.follow(OUTCOME_REFUSED if refused else OUTCOME_BAD if connected else OUTCOME_UNREACHED, status):
            return 0
        self.error = error
        return self.answer(status, <bytes>FAILURES[status], False)

    cdef int internal_error(self, error, uint64_t serial) except -1:
        """An unexpected error, in the exchange of that serial number, while the client's end was not at work: the
        client has to see that the exchange is over."""
        _log.error("internal error in an exchange", exc_info=error)
        if self.serial != serial or self.client is None:
            return 0               # the exchange has ended meanwhile
        self.error = ERROR_INTERNAL
        self.lose_server()
        self.count()
        return self.client.abort()

    # The client's end

    cdef int client_drained(self) except -1:
        """The client has taken what it was given."""
        cdef int status
        if self.answer_sink is not self.client:
            status = self.answer_sink.drained()
            if status:
                return self.answer_refused(status)
            if self.answer_sink.blocked:
                return 0
        if self.stream is not None:
            return self.stream.resume()
        return self.put_answer() if self.status else 0

    cdef int client_gone(self) except -1:
        """The client went away, or broke off its body; it has closed."""
        self.error = ERROR_CLIENT_ABORT
        self.status = 499
        self.lose_server()
        self.count()
        return 0

    cdef int client_stalled(self, int status) except -1:
        """The client's body does not come, or its answer is not taken, in the time allowed: 408 or 504."""
        self.error = ERROR_CLIENT_TIMEOUT
        self.lose_server()
        if self.status == 0:
            return self.answer(status, REFUSALS[408] if status == 408 else <bytes>FAILURES[504], status == 408)
        self.count()
        return self.client.abort()

    cdef int bad_body(self) except -1:
        """The framing of the request's body is broken."""
        self.error = ERROR_BAD_REQUEST
        self.lose_server()
        if self.status == 0:
            return self.answer(400, <bytes>REFUSALS[400], True)
        self.count()
        return self.client.abort()

    cdef int tunnel_ended(self) except -1:
        """Both ends of a switched protocol have closed."""
        self.leave_server()
        self.count()
        return 0

    cdef int lose_server(self) except -1:
        """Break off with the server, if one is at work."""
        cdef ServerStream stream = self.stream
        try:
            if self.pending is not None:
                self.end_wait().cancel()
        finally:                               # whatever went wrong there
            if self.rivals is not None:
                self.end_rivals()
            self.leave_server()
            if stream is not None:
                stream.exchange = None
                stream.abort()
        return 0

    cdef void leave_server(self) noexcept:
        if self.attempt.counted:
            self.attempt.counted = False
            self.attempt.balancer.note_end(self.attempt.server)
            if self.attempt.sent_ns:
                self.attempt.ended_ns = monotonic_ns()
            self.stream = None
            self.request_sink = None

    cdef void count(self) noexcept:
        if self.copies is not None:
            self.shed_copies()
        if self.is_subrequest:
            return
        if self.error >= 0:
            self.entry_point.stats.errors[self.error] += 1
        self.entry_point.stats.responses[self.status // 100 if self.status < 600 else 0] += 1
        if self.entry_point.observer is not None:
            try:
                self.tell_observer()
            except Exception as error:
                _log.error("internal error while noting an exchange", exc_info=error)

    cdef int tell_observer(self) except -1:
        cdef Record record
        record.forward = &self.forward
        record.status = self.status
        record.retries = self.retries
        record.ended_ns = monotonic_ns()
        record.duration_ns = record.ended_ns - self.started_ns
        record.request_bytes = self.request_bytes
        record.response_bytes = self.response_bytes
        return observe(&record, self.entry_point, self.route, self.attempt, self.request, self.response)


cdef dict outcome_of(Attempt attempt):
    """What became of an attempt, for an explanation."""
    found = {"server": attempt.server.key}
    if attempt.error >= 0:
        found["error"] = ERROR_NAMES[attempt.error]
    if attempt.origin_status:
        found["status"] = attempt.origin_status
    if attempt.abandoned:
        found["abandoned"] = True
    return found


cdef Exchange exchange_take(EntryPoint entry_point, ClientStream client, Dialer dialer):
    """An exchange ready to parse a request into. Usually O(1) without a heap call."""
    global last_serial, kept, kept_count
    cdef Exchange exchange = kept
    if exchange is not None:
        kept = exchange.next_kept
        exchange.next_kept = None
        kept_count -= 1
    else:
        exchange = Exchange.__new__(Exchange)
    exchange.entry_point = entry_point
    last_serial += 1
    exchange.serial = last_serial
    exchange.client = client
    exchange.answer_sink = client
    exchange.dialer = dialer
    exchange.status = 0
    exchange.error = -1
    exchange.retries = 0
    exchange.phase = PHASE_ROUTE
    exchange.passed = 0
    exchange.is_subrequest = exchange.body_ended = exchange.answer_ended = False
    exchange.started_ns = exchange.request_bytes = exchange.response_bytes = 0
    exchange.attempt.clear()
    exchange.way_back.clear()
    return exchange


cdef void exchange_give(Exchange exchange) noexcept:
    """The exchange is over and nothing of it is read any more."""
    global kept, kept_count
    if exchange.ends is not None:
        exchange.end_steps(0)
        exchange.ends = None
    exchange.release_slot()
    if exchange.gates.entered:
        exchange.gates.clear()
    exchange.request.clear()
    exchange.response.clear()
    exchange.client = None
    exchange.stream = None
    exchange.answer_sink = exchange.answer_filters = None
    exchange.request_sink = None
    if exchange.request_tail is not None:
        if exchange.recording is not None:
            exchange.recording.connect(None)   # it may live on, in a mirror's copy
        exchange.request_tail.connect(None)
        exchange.request_tail = None
        exchange.request_filters = None
    exchange.route = None
    exchange.service = None
    if exchange.recording is not None or exchange.replay is not None or exchange.copies is not None:
        exchange.recording = None
        exchange.replay = None
        exchange.copies = None
    if exchange.attempts is not None or exchange.states is not None or exchange.explanation is not None:
        exchange.attempts = None
        exchange.states = None
        exchange.explanation = None
    if exchange.tries is not None:
        exchange.tries = None
    exchange.asker.request = None
    exchange.asker.address = NULL
    exchange.decision.clear()
    if POOLS and kept_count < KEPT_EXCHANGES:
        exchange.next_kept = kept
        kept = exchange
        kept_count += 1
