"""The way of an answer to the client, a server's or lbcore's own, through the middlewares; and all ends of an exchange. No I/O."""

import logging

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memchr, memcpy

from lbcore.http.framing cimport BODY_LENGTH, BODY_NONE
from lbcore.http.number cimport put_decimal
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, ascii_lower, span_bytes, span_of
from lbcore.middleware.base cimport ANSWER, PASS, WAIT, Deadline, Middleware, Pending, Reply
from lbcore.observability.record cimport Record
from lbcore.proxy.attempt cimport OUTCOME_BAD, OUTCOME_REFUSED, OUTCOME_STALE, OUTCOME_UNREACHED, Attempt
from lbcore.proxy.observation cimport observe, show
from lbcore.proxy.tracing cimport end_trace, trace_answer
from lbcore.http.sink cimport Filter, Sink
from lbcore.routing.guarded cimport Guarded
from lbcore.routing.server cimport Server
from lbcore.routing.service cimport Service
from lbcore.selection.atomic cimport atomic_load_u64
from lbcore.selection.clock cimport monotonic_ns
from lbcore.state.durations cimport bucket_of
from lbcore.state.holdings cimport Denials
from lbcore.state.layout cimport (
    ERROR_BAD_REQUEST, ERROR_CLIENT_ABORT, ERROR_CLIENT_TIMEOUT, ERROR_EOF, ERROR_INTERNAL, ERROR_REFUSED, ERROR_RESET,
    ERROR_RESOLVE, ERROR_RESOURCE, ERROR_TIMEOUT, ERROR_TLS,
)
from lbcore.state.counters import ERROR_NAMES, ERROR_TEXTS
from lbcore.proxy.attempts cimport PHASE_ROUTE, Attempting

cdef enum:
    PART_BYTES = 65536         # of an answer of lbcore's own, put at once
    LONGEST_REASON = 200       # letters of a middleware's reason in an explanation
    FIRST_REFUSAL = 400        # status of an answer that counts as a refusal, if a middleware has made it

_log = logging.getLogger("lbcore.proxy")


# Bodies of lbcore's own answers, as Traefik's clients know them.
cdef dict REFUSALS = {
    400: b"400 Bad Request",
    408: b"408 Request Timeout",
    413: b"Request Entity Too Large",
    417: b"",
    421: b"Misdirected Request\n",
    431: b"431 Request Header Fields Too Large",
    501: b"Unsupported transfer encoding",
    505: b"505 HTTP Version Not Supported: unsupported protocol version",
}
cdef dict FAILURES = {502: b"Bad Gateway", 503: b"Service Unavailable", 504: b"Gateway Timeout", 500: b"Internal Server Error"}
cdef Sink HELD = Sink()        # where the body of an answer goes while it waits: takes nothing
HELD.blocked = True


cdef bint is_host(Span host) noexcept nogil:
    """Whether all bytes are of those that hosts and ports have (RFC 3986 section 3.2.2), in whatever order."""
    cdef Py_ssize_t i
    for i in range(host.len):
        if not (c"a" <= ascii_lower(host.ptr[i]) <= c"z" or c"0" <= host.ptr[i] <= c"9") \
                and memchr(b"-._~%!$&'()*+,;=:[]", host.ptr[i], 19) == NULL:
            return False
    return True


cdef class Tally(Filter):
    """The first filter of an answer that others may change: it counts what the server has sent."""

    cdef uint64_t bytes

    cdef int put(self, Span data) except -1:
        self.bytes += data.len
        return Filter.put(self, data)


cdef class Hold(Reply):
    """The end of what a filter does to the head of an answer: it comes in the next round of the event loop."""

    cdef int settle(self) except -1:
        cdef AnswerWay exchange = <AnswerWay>self.context
        self.context = None
        return exchange.let_head_go() if exchange.hold is self else 0


cdef class AnswerWay(Attempting):
    """The part of an exchange that its answer goes through."""

    cdef int add_answer_filter(self, Filter filter) except -1:
        cdef Filter last
        filter.step = self.step
        filter.connect(self.client)
        if self.answer_filters is self.client:
            self.answer_filters = filter
            if self.stream is not None and self.entry_point.observer is not None:
                self.answer_filters = tally_before(filter)
            return 0
        last = <Filter>self.answer_filters
        while last.next is not self.client:
            last = <Filter>last.next
        last.connect(filter)
        return 0

    cdef int hold_head(self) except -1:
        cdef Filter last = <Filter>self.answer_filters
        while last.next is not self.client:
            last = <Filter>last.next
        last.holds = True
        last.blocked = False                   # it puts nothing into the next one
        self.hold = Hold.__new__(Hold)
        self.hold.context = self
        self.hold.filter = last
        self.way_back.stopped = True
        return 0

    cdef int release_head(self) except -1:
        self.hold.filter.blocked = True
        return self.dialer.settle_later(self.hold)     # the server's end is at work now, and must not find its answer discarded

    cdef int let_head_go(self) except -1:
        """The filter that has held the head back has released it: ask the middlewares in front. Raises nothing of what that leads to."""
        cdef uint64_t serial = self.serial
        self.shut = self.hold.filter
        self.hold = None
        self.way_back.stopped = False
        try:
            self.go_on_back(None)
        except Exception as error:
            self.internal_error(error, serial)
        return 0

    cdef int open_filters(self) except -1:
        """Have the filters pass on what they have kept, since it is known what is behind them. Returns 0 or the status of a refusal."""
        if self.shut is not None:
            self.shut.holds = False
            self.shut = None
        return self.answer_sink.drained()

    cdef int put_head(self) except -1:
        """Send the head of the answer."""
        if self.explanation is not None:
            self.explanation.put(self.request, self.response, self.outcome())
        self.status = self.response.status
        return self.client.put_head(self.response)

    cdef int refuse(self, int status, int error) except -1:
        """Answer a request that was not understood; its connection cannot go on."""
        cdef bytes text
        self.entry_point.stats.requests += 1
        self.started_ns = self.dialer.clock[0] if self.entry_point.observer is None else monotonic_ns()
        self.error = error
        self.request.framing.keep_alive = False
        text = REFUSALS.get(status, b"")
        if status == 400 and self.request.lacks_host:
            return self.answer(400, b"400 Bad Request: missing required Host header", True)
        if status == 400 and self.request.head.major_version == 1 and not is_host(self.request.head.authority):
            return self.answer(400, b"400 Bad Request: malformed Host header", True)
        return self.answer(status, text, len(text) > 0)

    cdef int answer(self, int status, bytes text, bint plain) except -1:
        """Answer in the server's place. `text` has to be a constant; None: the usual one of the status."""
        cdef Response response = self.response
        response.clear()
        response.status = status
        if text is None:
            text = REFUSALS.get(status) or FAILURES.get(status, b"")
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
            self.drop_filters()
        self.frame_answer()
        self.go_back(None)
        return 0

    cdef int send_middlewares_answer(self) except -1:
        """Send the answer that the middleware at work has made in the server's place."""
        self.note_refusal(self.step, self.response.status)
        return self.send_answer()

    cdef int note_refusal(self, Py_ssize_t step, int status) except -1:
        """Count that the middleware of a step has refused the request, or has not let its answer pass, by an answer of this status.

        A negative step: what stays in front of the first middleware (`leave_filters`), which refuses nothing."""
        cdef Middleware middleware
        if self.is_subrequest or step < 0:
            return 0
        if self.gates.entered and step >= self.gates.first_step:
            middleware = self.gates.at(step)
        else:
            middleware = <Middleware>self.route.middlewares[step]
        if middleware.denials is None or (status < FIRST_REFUSAL and not middleware.guards):
            return 0                           # it is none of the configuration, as in the place of a router that cannot run; or redirects
        (<Denials>middleware.denials).add()
        self.entry_point.stats.denied += 1
        self.route.note_denied()
        return 0

    cdef int note_refused_body(self, Sink sink, int status) except -1:
        """Count a refusal by a filter of the chain that begins with `sink`, if a middleware has added it. O(filters)."""
        while isinstance(sink, Filter):
            if (<Filter>sink).refused:
                (<Filter>sink).refused = False
                return self.note_refusal((<Filter>sink).step, status)
            sink = (<Filter>sink).next
        return 0

    cdef int body_refused(self, int status) except -1:
        self.note_refused_body(self.request_filters, status)
        return Attempting.body_refused(self, status)

    cdef int frame_answer(self) except -1:
        """What lbcore's own answer needs beside status, headers and `text`, which stand in `response`."""
        cdef Response response = self.response
        cdef char* digits = response.alloc(20)
        response.minor_version = 1
        response.reason = span_of(NULL, 0)
        if response.status == 204 or response.status == 304:
            # Neither has a body: clients would take it for the next answer. Nor is there a length: that of a 304 is the server's.
            response.text = span_of(NULL, 0)
        else:
            response.append(span_of(b"Content-Length", 14), span_of(digits, put_decimal(digits, response.text.len) - digits))
        response.framing.length = response.text.len
        if self.request.is_head:
            response.text = span_of(NULL, 0)   # its length is told, and it is not sent
        response.framing.body = BODY_LENGTH if response.text.len else BODY_NONE
        response.framing.names_headers = False
        return 0

    cdef int go_back(self, Pending settled) except -1:
        """Have the answer in `response` pass the middlewares that are left on its way back, and send its head. Returns a Sender.

        settled  what was waited for; None: nothing was.
        """
        cdef int verdict = PASS, status, before
        cdef bint waited = settled is not None or self.shut is not None
        if not self.way_back.begun:
            self.begin_way_back()
        while (self.way_back.left and not self.way_back.stopped) or settled is not None:
            before = self.response.status
            verdict = self.way_back.run(self.route, self.gates, self.request, self.response, self, settled)
            settled = None
            if verdict == ANSWER:
                if before < FIRST_REFUSAL <= self.response.status:
                    self.note_refusal(self.step, self.response.status)
                if self.explanation is not None:
                    self.explanation.replaced.add(self.way_back.left)
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
        self.answer_sink = self.answer_filters
        if self.hold is None:
            self.put_head()
        if waited:                             # the client may have become ready meanwhile: filters go by what it was before
            status = self.open_filters()
            if status:
                self.answer_refused(status)
                return SENDER_EXCHANGE
        if self.stream is not None:
            return SENDER_STREAM
        self.put_answer()
        return SENDER_EXCHANGE

    cdef int go_on_back(self, Pending settled) except -1:
        """Continue with the answer after a wait."""
        if self.go_back(settled) != SENDER_STREAM:
            return 0
        if self.response.status == 101:
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
        self.drop_filters()
        return self.frame_answer()

    cdef int drop_filters(self) except -1:
        """Another answer comes in place of the one for which there are filters."""
        self.answer_filters = self.client
        self.answer_ended = False
        self.hold = None
        self.shut = None
        self.way_back.stopped = False
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
        """What an explanation says of the exchange."""
        cdef Attempt attempt = self.attempt
        cdef Middleware middleware = self.gates.at_work()
        found = {}
        if self.route is not None and self.phase == PHASE_ROUTE and self.passed < len(self.route.middlewares):
            middleware = <Middleware>self.route.middlewares[self.passed]
        if middleware is not None:
            found["answeredBy"] = middleware.name
            if because := middleware.why(self.request):
                found["because"] = because[:LONGEST_REASON]
        if steps := self.verdicts(middleware is not None):
            found["steps"] = steps
        if names := self.gates.names():
            found["serviceMiddlewares"] = names
        if attempt.server is not None:
            found["server"] = attempt.server.key
        if attempt.is_hedge:
            found["hedge"] = True
        if self.attempts is not None:
            found["attempts"] = [outcome_of(<Attempt>item) for item in self.attempts]
        if self.retries:
            found["retries"] = self.retries
        if self.error >= 0:
            found["error"] = ERROR_NAMES[self.error]
        return found

    cdef list verdicts(self, bint answered):
        """What each middleware on the way has made of the request, and what it knows, for an explanation.

        answered  one of them has answered instead of a server.
        """
        cdef Py_ssize_t step = 0, last = -1
        cdef Guarded gate
        cdef list steps = [], found = []
        if answered:
            last = self.passed if self.phase == PHASE_ROUTE else self.gates.count_passed()
        if self.route is not None:
            steps = [(item, self.route.name) for item in self.route.middlewares]
        for item in self.gates.entered:
            gate = <Guarded>item
            steps += [(middleware, gate.name) for middleware in gate.middlewares]
        for item, place in steps:
            verdict = "answered" if step == last else "not reached" if 0 <= last < step else "passed"
            if step in self.explanation.replaced:
                verdict = "replaced the answer"
            entry = {"middleware": (<Middleware>item).name, "verdict": verdict}
            if (known := item.state_at(place, self.request)) is not None:
                entry["state"] = known
            found.append(entry)
            step += 1
        return found

    cdef int set_cookies(self) except -1:
        """Add the session cookies of the services, the outermost one's first. Where a gate has not let the request pass, the services behind
        it have none for the client: it was sent to none of their members."""
        cdef Py_ssize_t passed = len(self.gates.entered) - (self.gates.at_work() is not None), behind
        cdef bytes line
        cdef char* copy
        for line, behind in self.decision.cookies:
            if behind > passed:
                break
            copy = self.response.alloc(len(line) + 1)
            memcpy(copy, <char*>line, len(line))
            self.response.append(span_of(b"Set-Cookie", 10), span_of(copy, len(line)))
        return 0

    cdef int response_head(self) except -1:
        """The server's final head is in `response`. Returns 0, or 1: the stream is none of this exchange any more, since its
        answer is not the one that the client gets."""
        cdef Attempt attempt = self.attempt
        cdef int status = self.response.status, sender
        cdef uint64_t now_ns = self.dialer.clock[0]
        attempt.server.stats.responses[status // 100 if status < 600 else 0] += 1
        attempt.server.stats.first_bytes[bucket_of(now_ns - attempt.asked_ns)] += 1
        attempt.origin_status = status
        attempt.origin_ns = now_ns - attempt.asked_ns      # to the batch of events; exact where that is wanted
        if attempt.balancer.times or self.entry_point.observer is not None or attempt.asked != NULL:
            now_ns = monotonic_ns()
            attempt.origin_ns = now_ns - attempt.sent_ns
            attempt.server.stats.first_byte_ns += attempt.origin_ns
            if attempt.asked != NULL:
                trace_answer(self)
        if status >= 500:
            attempt.balancer.note_failure(attempt.server)
        else:
            attempt.balancer.note_success(attempt.server)
            if attempt.balancer.times:
                attempt.balancer.note_latency(attempt.server, attempt.origin_ns, now_ns)
        if self.rivals is not None:
            if status >= 500 or self.tries.drops(status, self.tried):
                self.discard_answer()          # another server may have a better one
                self.go_on_with_rival()
                return 1
            self.end_rivals(True)
        if self.decision.failover is not None or self.tries is not None:
            if self.follow(OUTCOME_BAD, status):
                return 1
            if attempt.is_hedge:
                attempt.server.stats.hedges_won += 1
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
        self.error = ERROR_RESOURCE if status == 503 else ERROR_INTERNAL
        self.note_refused_body(self.answer_filters, status)
        self.lose_server()
        if self.status == 0:
            status = 503 if status == 503 else 500
            return self.answer(status, <bytes>FAILURES[status], False)
        self.count()
        return self.client.abort()

    cdef int response_end(self) except -1:
        """The server's answer is complete, its end was put; its connection has taken itself back."""
        self.leave_server()
        self.answer_ended = self.answer_sink is not HELD       # which has dropped the end
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
        if refused and self.rivals is None and not self.way_back.begun:
            self.refusals += 1
            if self.refusals > 1:              # what follows is a new choice
                self.leave_server()
            if self.follow(OUTCOME_REFUSED, status):
                return 0
        if reused and not heard and self.rivals is None and not self.way_back.begun \
                and (error == ERROR_EOF or error == ERROR_RESET) and self.follow(OUTCOME_STALE, status):
            return 0
        self.leave_server()
        if error == ERROR_REFUSED or error == ERROR_RESOLVE or error == ERROR_TLS \
                or (error == ERROR_TIMEOUT and not connected):
            attempt.server.stats.connect_errors += 1
        if error != ERROR_RESOURCE and attempt.origin_status == 0:
            attempt.server.stats.responses[0] += 1
        if error != ERROR_RESOURCE and not (reused and not heard) and not (refused and self.rivals is not None):
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
                and self.follow(OUTCOME_BAD if connected else OUTCOME_UNREACHED, status):
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
        return self.put_answer() if self.way_back.begun and self.pending is None else 0

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

    cdef Deadline set_deadline(self, int64_t timeout_ms):
        cdef Deadline deadline = Deadline.__new__(Deadline)
        deadline.context = self
        self.dialer.arm(deadline, timeout_ms)
        return deadline

    cdef int be_overdue(self) except -1:
        return self.break_off(ERROR_TIMEOUT, 504)

    cdef int break_off(self, int error, int status) except -1:
        cdef uint64_t serial = self.serial
        try:
            self.error = error
            self.lose_server()
            if self.status == 0 and status:
                return self.answer(status, <bytes>FAILURES[status], False)
            self.count()
            return self.client.abort()
        except Exception as problem:
            return self.internal_error(problem, serial)

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

    cdef void count(self) noexcept:
        cdef uint64_t now_ns = self.dialer.clock[0]
        cdef int status_class = self.status // 100 if self.status < 600 else 0, bucket
        if self.copies is not None:
            self.shed_copies()
        if self.is_subrequest:
            return
        if self.error >= 0:
            self.entry_point.stats.errors[self.error] += 1
        # Where `started_ns` is exact, it may be later than the beginning of this batch of events.
        bucket = bucket_of(now_ns - self.started_ns if now_ns > self.started_ns and self.started_ns else 0)
        self.entry_point.stats.responses[status_class] += 1
        self.entry_point.stats.durations[bucket] += 1
        if self.route is not None:
            self.route.note_end(status_class, bucket)
        if self.entry_point.observer is not None or atomic_load_u64(self.entry_point.tapped_until_ns) > now_ns:
            try:
                self.tell_observer()
            except Exception as error:
                _log.error("internal error while noting an exchange", exc_info=error)
        if self.trace != NULL:
            if self.trace.sampled:
                try:
                    end_trace(self, self.attempts)
                except Exception as error:
                    _log.error("internal error while tracing an exchange", exc_info=error)
            self.trace = NULL

    cdef int tell_observer(self) except -1:
        cdef Record record
        record.forward = &self.forward
        record.trace = self.trace
        record.status = self.status
        record.retries = self.retries
        record.ended_ns = monotonic_ns()
        record.duration_ns = record.ended_ns - self.started_ns
        record.request_bytes = self.request_bytes
        record.response_bytes = self.response_bytes
        record.origin_bytes = self.response_bytes
        if isinstance(self.answer_filters, Tally):
            record.origin_bytes = (<Tally>self.answer_filters).bytes
        if self.entry_point.observer is not None:
            if self.entry_point.observer.tells_attempts and (self.attempts is not None or self.attempt.error >= 0):
                self.tell_attempts()
            observe(&record, self.entry_point, self.route, self.attempt, self.request, self.response)
        if atomic_load_u64(self.entry_point.tapped_until_ns) > record.ended_ns and self.entry_point.tap is not None:
            show(&record, self.entry_point, self.route, self.attempt, self.request)
        return 0

    cdef int tell_attempts(self) except -1:
        """Write to the log where the request was sent, one server after the other, and what became of it there."""
        cdef list told = [told_of(<Attempt>item) for item in self.attempts or ()]
        if self.attempt.server is not None:
            told.append(told_of(self.attempt))
        if told:
            _log.debug("%s %s was sent %s%s; the client got status %d",
                       span_bytes(self.request.head.method).decode("latin-1"),
                       span_bytes(self.request.head.first_path).decode("latin-1"),
                       f"{len(told)} times: " if len(told) > 1 else "", "; then ".join(told), self.status)
        return 0


cdef Tally tally_before(Filter filter):
    """What counts the bytes that a filter gets."""
    cdef Tally tally = Tally.__new__(Tally)
    tally.step = filter.step
    tally.large_pieces = filter.large_pieces
    tally.connect(filter)
    return tally


cdef str told_of(Attempt attempt):
    """Where an attempt was made, and what became of it, for the log."""
    cdef str text = f"to {attempt.server.key} of {attempt.balancer.name}"
    if attempt.again:
        text += " over a new connection"
    if attempt.is_hedge:
        text += " beside the one before"
    if attempt.error >= 0:
        return f"{text} ({ERROR_TEXTS[attempt.error]})"
    if attempt.origin_status:
        return f"{text} (status {attempt.origin_status})"
    return f"{text} ({'slower than another' if attempt.abandoned else 'no answer'})"


cdef dict outcome_of(Attempt attempt):
    """What became of an attempt, for an explanation."""
    found = {"server": attempt.server.key}
    if attempt.error >= 0:
        found["error"] = ERROR_NAMES[attempt.error]
    if attempt.origin_status:
        found["status"] = attempt.origin_status
    if attempt.is_hedge:
        found["hedge"] = True
    if attempt.abandoned:
        found["abandoned"] = True
    return found
