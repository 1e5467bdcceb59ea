"""What asks servers for an exchange: choosing, waiting for a free one, attempts, and what follows a failed one. No I/O."""

cimport cython
from libc.stdint cimport int64_t, uint64_t

from lbcore.http.framing cimport BODY_NONE
from lbcore.http.response cimport Response
from lbcore.middleware.base cimport Pending, Tries
from lbcore.proxy.attempt cimport (
    NEXT_FALLBACK, NEXT_NONE, NEXT_OTHER, NEXT_RETRY, NEXT_SAME, OUTCOME_BAD, OUTCOME_REFUSED, OUTCOME_STALE, OUTCOME_UNREACHED,
    Attempt, next_attempt,
)
from lbcore.routing.balancer cimport LoadBalancer
from lbcore.routing.decision cimport Decision, FailoverStep
from lbcore.routing.failover cimport Failover, step_to_leave
from lbcore.routing.queue cimport Waiter, WaitQueue
from lbcore.routing.server cimport Server
from lbcore.routing.service cimport Service
from lbcore.selection.clock cimport monotonic_ns
from lbcore.state.layout cimport ERROR_NO_SERVER
from lbcore.proxy.exchange cimport ServerStream
from lbcore.proxy.request_way cimport (
    BodySource, RequestWay, SOURCE_NONE, SOURCE_REFUSED, SOURCE_REWOUND, SOURCE_REWOUND_AT_SERVICE,
)
from lbcore.proxy.tracing cimport name_attempt, trace_attempt

cdef enum:
    LONGEST_PAUSE_MS = 60000   # between two attempts
    FIRST_PAUSE_MS = 5         # after a server has refused a request unseen for the second time; the next ones are longer, each ...
    PAUSE_FACTOR = 4           # ... by this factor
    MOST_REFUSALS = 6          # of one request


@cython.final
cdef class Pause(Pending):
    """The time between two attempts."""


@cython.final
cdef class HedgeTimer(Pending):
    """The time until an attempt without an answer gets another one beside it. The exchange does not wait for it."""

    cdef int expire(self) except -1:
        cdef Attempting exchange = <Attempting>self.context
        self.timer = self.context = None
        return 0 if exchange is None else exchange.hedge_is_due()


def begun(Attempt attempt) -> int:
    """When an attempt was made, by which several are told of in order."""
    return attempt.asked_ns


cdef class Attempting(RequestWay):
    """The part of an exchange that chooses servers and asks them."""

    cdef Server find_server(self):
        """The server that the service chooses, by the request before any gate has changed it; None: there is none."""
        self.set_asker()
        return self.service.choose(self.asker, self.decision)

    cdef bint choose(self) except *:
        """Choose a server for a new attempt. False: there is none."""
        cdef Server server = self.find_server()
        if server is None and self.is_retry and self.decision.failed is not None and self.decision.queue is None:
            self.decision.choose_anew()        # of those that have answered
            server = self.find_server()
        self.attempt_at(server)
        return server is not None

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

    cdef int ask_server(self) except -1:
        """Send the request to the server of the attempt; its body is kept if it may have to be sent once more."""
        if self.body_lost:
            self.release_slot()
            return self.no_body()
        self.phase = PHASE_SERVER
        if (self.decision.mirrors is None and self.decision.failover is None and self.recording is None and self.tries is None) \
                or self.start_recording():
            return self.dispatch(False, False)
        return 0

    cdef int dispatch(self, bint again, bint anew) except -1:
        """Send the request to the server chosen. `again`: in the place of the attempt before. `anew`: over a new connection."""
        cdef Attempt attempt = self.attempt
        if again:
            attempt.server.stats.requests += 1
        else:
            attempt.balancer.note_start(attempt.server)
            attempt.counted = True
            self.decision.slot_taken = False
        attempt.asked_ns = self.dialer.clock[0]
        if self.trace != NULL and self.trace.sampled:
            trace_attempt(self)
        if attempt.balancer.times or self.entry_point.observer is not None or attempt.asked != NULL:
            attempt.sent_ns = monotonic_ns()
        if self.hedge_timer is not None:
            self.stop_hedging()                # the time of another attempt, maybe at a service that is not hedged
        if self.tries is not None and self.tries.hedge_ms and self.request.framing.body == BODY_NONE:
            self.await_answer()
        return self.dialer.connect(self, anew)

    cdef bint follow(self, int outcome, int status) except *:
        """Make the attempt that may follow a failed one. False: none does, and `status` is the answer."""
        cdef BodySource source = self.body_source()
        cdef bint repeatable = self.request.is_idempotent() if outcome == OUTCOME_STALE else source != SOURCE_NONE
        cdef bint unreached = outcome == OUTCOME_UNREACHED, affords = True, refused
        cdef int step
        if self.refused is not None and source != SOURCE_REFUSED:
            self.refused = None                # it comes from elsewhere, from its beginning
        if unreached:
            if self.is_late():
                outcome = OUTCOME_BAD
        elif outcome != OUTCOME_BAD and repeatable:
            if source == SOURCE_REWOUND:
                self.begin_anew()
            elif source == SOURCE_REWOUND_AT_SERVICE:
                outcome = OUTCOME_BAD      # neither the same server nor another one behind the same gates
        refused = outcome == OUTCOME_REFUSED and repeatable and self.refusals > 1
        if refused and self.refusals < MOST_REFUSALS:
            return self.ask_later()
        step = NEXT_OTHER if refused else next_attempt(
            self.attempt, outcome, status, repeatable, self.decision,
            self.tries if outcome == OUTCOME_UNREACHED else self.tries_left(), self.tried)
        if step == NEXT_SAME:
            self.ask_same(outcome == OUTCOME_STALE)
            return True
        if step == NEXT_OTHER:
            affords = not unreached or self.afford()
            if affords:
                if self.ask_other():
                    return True
                if unreached:
                    self.not_made()
            step = next_attempt(self.attempt, OUTCOME_BAD, status, repeatable, self.decision,
                                self.tries_left() if affords else None, self.tried)
        if step == NEXT_NONE and unreached and repeatable and affords and self.begins_anew() and self.afford():
            return self.retry(True)
        if step == NEXT_RETRY:
            if self.afford():
                return self.retry(False)
            step = next_attempt(self.attempt, OUTCOME_BAD, status, repeatable, self.decision, None, self.tried)
        if step == NEXT_FALLBACK:
            self.fall_back(status)
            return True
        return False

    cdef int set_tries(self, Tries tries) except -1:
        if tries is self.tries:
            return 0                           # its middleware is passed once more
        self.tries = tries
        self.tried = 1
        self.is_retry = False
        self.decision.most_tries = tries.most
        self.tries_until_ns = self.dialer.now_ns() + <uint64_t>tries.within_ms * 1000000 if tries.within_ms else 0
        tries.begin(self.dialer.now_ns())
        return 0

    cdef bint afford(self) noexcept:
        """Whether the budget of the route has room for one more attempt, which is taken from it."""
        return self.tries is None or self.tries.spend(self.dialer.now_ns())

    cdef void not_made(self) noexcept:
        """The attempt of `afford` is not made."""
        if self.tries is not None:
            self.tries.give_back(self.dialer.now_ns())

    cdef Tries tries_left(self):
        """`tries`, if it allows one more attempt after an answer of a server; else None."""
        return None if self.tries is None or self.is_late() or not self.tries.repeats(self.request) else self.tries

    cdef bint is_late(self) noexcept:
        """Whether the time is over in which `tries` allows one more attempt."""
        return self.tries_until_ns and self.tries is not None and self.dialer.now_ns() >= self.tries_until_ns

    cdef bint begins_anew(self) noexcept:
        """Whether servers that could not be reached are tried once more, there being no others."""
        return self.tries is not None and self.tries.begins_anew and self.tried < self.tries.most and not self.is_late()

    cdef bint retry(self, bint anew) except *:
        """Discard the answer of the server, and ask the service again, after the pause that `tries` prescribes. False: that
        would be too late, and nothing was done.

        anew  all servers may be chosen; else those that have not answered come first.
        """
        cdef Pause pause
        cdef int64_t pause_ms = min(self.tries.pause(self.tried), <int64_t>LONGEST_PAUSE_MS)
        cdef uint64_t serial = self.serial
        if self.tries_until_ns and self.dialer.now_ns() + <uint64_t>pause_ms * 1000000 >= self.tries_until_ns:
            self.not_made()
            return False
        self.discard_answer()
        self.leave_gates()
        if anew:
            self.decision.choose_anew()
        else:
            self.decision.exclude(self.attempt.server)
            self.decision.forget_choice()
        self.tried += 1
        self.retries += 1
        self.is_retry = True
        self.prepare_again(self.service)
        try:
            if not pause_ms:
                self.go_on(None)
                return True
            pause = Pause.__new__(Pause)
            self.wait(pause, pause_ms)
            self.waiting = True
        except Exception as error:
            self.internal_error(error, serial)
        return True

    cdef bint ask_later(self) except *:
        """Ask the service once more after a pause, because the server goes on refusing the request unseen. It is not excluded: that
        is no failure, and it may be the only one. No server is at work for the request."""
        cdef Pause pause = Pause.__new__(Pause)
        cdef int64_t pause_ms = FIRST_PAUSE_MS
        cdef uint64_t serial = self.serial
        for _ in range(2, self.refusals):
            pause_ms *= PAUSE_FACTOR
        self.leave_gates()
        self.decision.choose_anew()
        self.retries += 1
        self.is_retry = True
        self.prepare_again(self.service)
        try:
            self.wait(pause, pause_ms)
            self.waiting = True
        except Exception as error:
            self.internal_error(error, serial)
        return True

    # Hedging: several attempts under way at once

    cdef int await_answer(self) except -1:
        """The server is about to get all of the request, or has it: if its answer does not begin in the time that `tries` allows,
        another one is asked beside."""
        cdef LoadBalancer balancer = self.attempt.balancer
        if self.phase != PHASE_SERVER or self.tried >= self.tries.most \
                or self.request.framing.upgrade or not self.tries.hedges(self.request) \
                or balancer.count < 2 or balancer.has_sessions:    # these stay where they are, however slow that is
            return 0
        if self.hedge_timer is None:
            self.hedge_timer = HedgeTimer.__new__(HedgeTimer)
        self.stop_hedging()
        self.hedge_timer.context = self
        return self.dialer.arm(self.hedge_timer, self.tries.hedge_ms)

    cdef int stop_hedging(self) except -1:
        """No other server is asked beside those that are."""
        if self.hedge_timer is not None:
            if self.hedge_timer.timer is not None:
                self.dialer.disarm(self.hedge_timer)
            self.hedge_timer.context = None
        return 0

    cdef int hedge_is_due(self) except -1:
        """That time is over. Raises nothing of what that leads to."""
        cdef uint64_t serial = self.serial
        try:
            self.hedge()
        except Exception as error:
            self.internal_error(error, serial)
        return 0

    cdef bint may_hedge(self) noexcept:
        """Whether the present attempt waits for an answer, and another server can be asked the same. One whose connections belong to
        clients cannot: they are authenticated there."""
        return self.phase == PHASE_SERVER and self.stream is not None and self.attempt.origin_status == 0 \
            and self.tried < self.tries.most and not self.is_late() and not self.attempt.server.binds and self.is_at_hand()

    cdef Server find_another(self):
        """Another server of the service whose server is asked now, behind the same gates. None: there is none that is free."""
        cdef Decision decision = self.decision
        cdef LoadBalancer balancer = self.attempt.balancer
        cdef Server server
        cdef list failed = decision.failed, path = decision.path
        cdef bint further = decision.further
        decision.failed = [self.attempt.server] if failed is None else failed + [self.attempt.server]
        if self.rivals is not None:
            decision.failed += [(<Attempt>item).server for item in self.rivals]
        decision.path = None
        decision.further = True
        self.set_asker()
        try:
            server = balancer.choose(self.asker, decision)
        finally:
            decision.failed, decision.path, decision.further = failed, path, further       # they have not failed so far
            decision.queue = decision.session_server = None    # nothing waits for a further attempt
            decision.on_trial = False
        return server

    cdef int hedge(self) except -1:
        """Begin one more attempt beside those under way, if another server can be asked and the budget has room: the first good
        answer is the client's, and ends the others."""
        cdef LoadBalancer balancer = self.attempt.balancer
        cdef Server server
        if not self.may_hedge() or not self.afford():
            return 0
        server = self.find_another()
        if server is None:
            self.not_made()
            return 0
        self.set_aside()
        self.attempt.server = server
        self.attempt.balancer = balancer
        self.attempt.is_hedge = True
        self.tried += 1
        self.retries += 1
        server.stats.retries += 1
        server.stats.hedges += 1
        return self.dispatch(False, False)

    cdef int set_aside(self) except -1:
        """The present attempt goes on, and another one is made the present one."""
        cdef Attempt attempt = self.attempt
        attempt.stream, attempt.response = self.stream, self.response
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
                self.rivals[i] = self.attempt
                return self.take_up(attempt)
        return 0

    cdef int take_up(self, Attempt attempt) except -1:
        """Make an attempt that is under way the present one. A body is given to the latest one alone, the others have it: the filters
        stay as they are."""
        self.attempt = attempt
        self.response = attempt.response
        self.forward.server_authority = attempt.server.authority
        self.stream = <ServerStream>attempt.stream
        self.request_sink = self.stream if self.request_tail is None else self.request_filters
        attempt.stream = attempt.response = None
        if attempt.asked != NULL:
            name_attempt(self)
        return 0

    cdef int go_on_with_rival(self) except -1:
        """The present attempt has failed, and another one is under way."""
        cdef Attempt rival = <Attempt>self.rivals.pop()
        self.decision.exclude(self.attempt.server)
        self.attempts = [] if self.attempts is None else self.attempts
        self.attempts.append(self.attempt)
        if not self.rivals:
            self.rivals = None
        self.error = -1
        return self.take_up(rival)

    cdef int end_rivals(self, bint beaten) except -1:
        """Abort all attempts but the present one. `beaten`: that one was faster; a server that was asked earlier is known to be at least
        so slow. None of them has failed."""
        cdef Attempt attempt
        cdef ServerStream stream
        cdef list rivals = self.rivals
        self.rivals = None
        if len(rivals) > 1:
            rivals.sort(key=begun)
        for item in rivals:
            attempt = <Attempt>item
            stream = <ServerStream>attempt.stream
            attempt.stream = attempt.response = None
            attempt.abandoned = beaten
            if attempt.sent_ns:
                attempt.ended_ns = monotonic_ns()
                if beaten and attempt.balancer.times and attempt.sent_ns < self.attempt.sent_ns:
                    attempt.balancer.note_slowness(attempt.server, attempt.ended_ns - attempt.sent_ns, attempt.ended_ns)
            self.attempts = [] if self.attempts is None else self.attempts
            self.attempts.append(attempt)
            attempt.counted = False
            attempt.balancer.note_end(attempt.server)
            stream.exchange = None
            stream.abort()
        return 0

    cdef int ask_same(self, bint anew) except -1:
        """The server has not seen the request, or has not looked at it: once more, in its place there. `anew`: over a new connection,
        because the one that was idle was dead."""
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
        return self.dispatch(True, anew)

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
        self.tried += 1
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
        self.leave_gates()
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
        if self.is_subrequest and (self.request_filters is None or not self.request_filters.complete):
            self.begin_anew()
        self.attempt_at(None)
        self.service = service
        self.phase = PHASE_CHOOSE
        return 0

    cdef int discard_answer(self) except -1:
        cdef ServerStream stream = self.stream
        if stream is not None:
            self.leave_server()
            stream.exchange = None
            stream.discard()
        return 0

    cdef int lose_server(self) except -1:
        """Break off with the server, if one is at work."""
        cdef ServerStream stream = self.stream
        try:
            if self.pending is not None:
                self.end_wait().cancel()
        finally:                               # whatever went wrong there
            if self.rivals is not None:
                self.end_rivals(False)
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

    cdef list attempts_made(self):
        cdef Attempt attempt
        cdef list made = []
        for item in (self.attempts or []) + (self.rivals or []) + [self.attempt]:
            attempt = <Attempt>item
            if attempt.server is not None:
                made.append((attempt.server.key, attempt.sent_ns, attempt.origin_ns, attempt.ended_ns, attempt.origin_status,
                             attempt.error, attempt.abandoned))
        return made
