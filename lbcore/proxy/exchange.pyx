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
from lbcore.http.span cimport Span, span_eq, span_of
from lbcore.middleware.base cimport Middleware
from lbcore.proxy.copies cimport send_copies, shed_copies
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.explainer cimport explain_if_asked
from lbcore.proxy.fallback cimport fail_over, keep
from lbcore.proxy.observation cimport observe
from lbcore.proxy.pool cimport Pool
from lbcore.proxy.recording cimport Recording
from lbcore.proxy.waiting cimport line_up, step_out
from lbcore.routing.mirroring cimport Mirror
from lbcore.routing.queue cimport WaitQueue
from lbcore.routing.route cimport Route
from lbcore.routing.server cimport Server
from lbcore.routing.service cimport Service
from lbcore.routing.balancer cimport LoadBalancer
from lbcore.routing.decision cimport Decision
from lbcore.selection.clock cimport monotonic_ns
from lbcore.state.layout cimport (
    ERROR_BAD_REQUEST, ERROR_CLIENT_ABORT, ERROR_CLIENT_TIMEOUT, ERROR_EOF, ERROR_GARBAGE, ERROR_INTERNAL, ERROR_NO_ROUTER,
    ERROR_NO_SERVER, ERROR_REFUSED, ERROR_RESET, ERROR_RESOLVE, ERROR_RESOURCE, ERROR_TIMEOUT,
)

cdef enum:
    KEPT_EXCHANGES = 1024      # kept for reuse

# Bodies of lbcore's own answers, as Traefik's clients know them.
cdef dict REFUSALS = {
    400: b"400 Bad Request",
    417: b"",
    431: b"431 Request Header Fields Too Large",
    501: b"Unsupported transfer encoding",
    505: b"505 HTTP Version Not Supported: unsupported protocol version",
}
cdef dict FAILURES = {502: b"Bad Gateway", 503: b"Service Unavailable", 504: b"Gateway Timeout", 500: b"Internal Server Error"}
cdef list kept = []

_log = logging.getLogger("lbcore.proxy")


cdef class ClientStream:
    """The end a request came from, as its connection implements it."""

    cdef int put_head(self, Response response) except -1:
        """Put the head of the final answer. The body follows as `response.framing` says."""
        return 0

    cdef int put_interim(self, Response response) except -1:
        """Put the head of a 1xx answer, if the client understands one."""
        return 0

    cdef int put_body(self, Span data) except -1:
        """Put a part of the body; `data` is free afterwards. Some may be left unsent: see `blocked`."""
        return 0

    cdef int put_end(self, Message trailers) except -1:
        """The body is complete. `trailers` holds the trailer section, or is None."""
        return 0

    cdef int flush(self) except -1:
        """Hand what was put to the kernel."""
        return 0

    cdef void write_failed(self) noexcept:
        """A write past this object, to `splice_fd`, failed. From now on `blocked`; the exchange is told later."""
        pass

    cdef void wait_for_output(self) noexcept:
        """A write past this object found no room. From now on `blocked`, until `Exchange.client_drained`."""
        pass

    cdef int want_body(self) except -1:
        """The server takes the request's body: read and pass it on."""
        return 0

    cdef int rewind(self) except -1:
        """Another server will be asked, for which the body begins anew, as far as the exchange has not recorded it."""
        return 0

    cdef int tunnel(self, ServerStream server) except -1:
        """The protocol was switched: carry bytes both ways until one side ends, then say `Exchange.tunnel_ended`."""
        return 0

    cdef int finish(self) except -1:
        """The answer is complete and the exchange over. Flush, then go on to the next request or close."""
        return 0

    cdef int abort(self) except -1:
        """The answer cannot be completed and the exchange is over: make the client see it by closing."""
        return 0


cdef class ServerStream:
    """The end that answers, as its connection implements it."""

    cdef int start(self, Exchange exchange) except -1:
        """Send the head of a request. Failures are reported later, through `Exchange.server_failed`."""
        return 0

    cdef int put_body(self, Span data) except -1:
        """Put a part of the request's body; `data` is free afterwards."""
        return 0

    cdef int put_end(self) except -1:
        """The request is complete."""
        return 0

    cdef int flush(self) except -1:
        """Hand what was put to the kernel."""
        return 0

    cdef void write_failed(self) noexcept:
        """A write past this object, to `splice_fd`, failed. From now on `blocked`; the exchange is told later."""
        pass

    cdef void wait_for_output(self) noexcept:
        """A write past this object found no room. From now on `blocked`, until `Exchange.server_ready`."""
        pass

    cdef int resume(self) except -1:
        """The client has taken what it was given: read on."""
        return 0

    cdef int close(self) except -1:
        """End the connection, whatever it is doing. Its exchange is not told."""
        return 0


cdef class Dialer:
    """Makes new connections to servers."""

    cdef int dial(self, Exchange exchange) except -1:
        """Set `exchange.stream` to a new connection to `exchange.server`, that starts by itself when it stands."""
        return 0

    cdef int watch_queue(self, WaitQueue queue) except -1:
        """Call the queue's `tick` every few milliseconds while anybody waits in it."""
        return 0

    cdef int mirror(self, Exchange exchange, Request request, Mirror mirror, Recording body) except -1:
        """Send a copy of the exchange's request, which `request` is, to a mirror. Nothing of it is ever told."""
        return 0


@cython.final
cdef class Exchange:
    """A request, its answer, and every decision taken on the way. Reused: get one with `exchange_take`."""

    def __cinit__(self):
        self.request = Request()
        self.response = Response()
        self.decision = Decision()
        self.decision.response = self.response

    # The request

    cdef int begin(self) except -1:
        """The request's head is here: decide where it goes, and send it there."""
        cdef RequestHead* head = &self.request.head
        cdef Middleware middleware
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
            self.request.drop_listed(self.entry_point.passed_on)
        self.forward.pass_host = True
        self.route = <Route>self.entry_point.routes.find(head)
        if self.entry_point.explainer is not None:
            explain_if_asked(self)
        if self.route is None:
            self.error = ERROR_NO_ROUTER
            return self.answer(404, b"404 page not found\n", True)
        for item in self.route.middlewares:
            middleware = <Middleware>item
            if middleware.on_request(self.request, self.response):
                return self.send_answer()
            self.passed += 1
        self.service = self.route.service
        if not self.choose():
            return self.no_server()
        return self.record()

    cdef int begin_copy(self, Service service) except -1:
        """Be an exchange for a mirror: `request` is complete, the client is nobody."""
        self.is_copy = True
        self.service = service
        if not self.choose():
            return self.no_server()
        return self.dispatch(False)

    cdef int record(self) except -1:
        """Somebody may want the request once more: keep its body as it passes, and send copies when it is complete."""
        if (self.decision.mirrors is None and self.decision.failover is None and self.recording is None) or keep(self):
            return self.dispatch(False)
        return 0

    cdef int too_large(self) except -1:
        """Refuse a body that could not be sent a second time."""
        self.error = ERROR_BAD_REQUEST
        return self.answer(413, b"Request body too large\n", True)

    cdef int put_body(self, Span data) except -1:
        """A part of the request's body has come: keep it if somebody may want it again, and give it to the server."""
        if self.recording is not None:
            self.recording.add(data)
            self.replayed = self.recording.size
            if self.recording.lost:
                if self.copies is not None:
                    shed_copies(self, True)
                if self.decision.failover is not None and not self.status:
                    self.lose_server()
                    return self.too_large()
                self.recording = None
        self.request_bytes += data.len
        return self.stream.put_body(data)

    cdef int put_end(self) except -1:
        """The request is complete."""
        if self.recording is not None:
            self.recording.complete = True
            if self.copies is not None:
                send_copies(self)
        return self.stream.put_end()

    cdef int choose(self) except -1:
        """Choose a server. Returns whether there is one."""
        self.server = self.service.choose(self.request, self.decision)
        if self.server is None:
            return False
        self.balancer = <LoadBalancer>self.decision.balancer
        self.forward.pass_host = self.balancer.pass_host
        return True

    cdef int no_server(self) except -1:
        """When nobody was chosen: wait, if all are full; else answer, by a middleware of a service, or with 503."""
        if self.decision.queue is not None:
            return line_up(self)
        if self.decision.answered:
            return self.send_answer()
        self.error = ERROR_NO_SERVER
        if self.decision.failover is not None and fail_over(self, 503):
            return 0
        return self.answer(503, self.decision.refusal, True)

    cdef int dispatch(self, bint fresh) except -1:
        """Send the request to the server chosen, over a connection that is idle unless a `fresh` one is wanted."""
        cdef ServerStream stream = None
        if fresh:
            self.server.stats.requests += 1        # it has kept its place there
        else:
            self.balancer.note_start(self.server)
            self.decision.held = False
        if self.balancer.times or self.entry_point.observer is not None:
            self.sent_ns = monotonic_ns()
        if not fresh and self.server.pool is not None:
            stream = (<Pool>self.server.pool).take()
        if stream is None:
            return self.dialer.dial(self)
        self.stream = stream
        stream.start(self)
        if not stream.blocked:
            self.server_ready()
        return 0

    cdef int server_ready(self) except -1:
        """The server's end takes more of the request's body: first what another one has been given already."""
        cdef Recording recording = self.recording
        if recording is not None and self.replayed < recording.size:
            self.stream.put_body(recording.since(self.replayed))
            self.replayed = recording.size
            if recording.complete:
                self.stream.put_end()
            elif self.decision.failover is None and self.copies is None:
                self.recording = None      # nobody wants the rest of it
            self.stream.flush()
            if self.stream is None or self.stream.blocked:
                return 0
        elif recording is not None and recording.complete and not self.is_copy and recording.size == 0:
            self.stream.put_end()
            self.stream.flush()
        return self.client.want_body()

    # The answer

    cdef int refuse(self, int status, int error) except -1:
        """Answer a request that was not understood; its connection cannot go on."""
        self.entry_point.stats.requests += 1
        if self.entry_point.observer is not None:
            self.started_ns = monotonic_ns()
        self.error = error
        self.request.framing.keep_alive = False
        self.request.head.minor_version = 1
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
        """Send the answer that was made in `response`: status, headers, `text`."""
        cdef Response response = self.response
        cdef char* digits = response.alloc(20)
        response.minor_version = 1
        response.reason = span_of(NULL, 0)
        response.append(span_of(b"Content-Length", 14), span_of(digits, put_decimal(digits, response.text.len) - digits))
        response.framing.body = BODY_LENGTH if response.text.len and not self.request.is_head else BODY_NONE
        response.framing.length = response.text.len
        response.framing.names_headers = False
        self.run_answer_middlewares()
        self.status = response.status
        self.client.put_head(response)
        if response.framing.body:
            self.client.put_body(response.text)
        self.client.put_end(None)
        self.count()
        return self.client.finish()

    cdef int run_answer_middlewares(self) except -1:
        cdef Middleware middleware
        cdef Py_ssize_t i
        if self.decision.cookies is not None:
            self.set_cookies()
        if self.decision.guards is not None:
            for i in range(len(self.decision.guards) - 1, -1, -1):
                middleware = <Middleware>self.decision.guards[i]
                middleware.on_response(self.request, self.response)
        if self.route is None or not self.route.sees_answers:
            return 0
        for i in range(self.passed - 1, -1, -1):
            middleware = <Middleware>self.route.middlewares[i]
            if middleware.sees_answer:
                middleware.on_response(self.request, self.response)
        return 0

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
        """The server's final head is in `response`."""
        cdef int status = self.response.status
        cdef uint64_t now_ns = 0
        self.server.stats.responses[status // 100 if status < 600 else 0] += 1
        self.origin_status = status
        if self.balancer.times or self.entry_point.observer is not None:
            now_ns = monotonic_ns()
            self.origin_ns = now_ns - self.sent_ns
            self.server.stats.first_byte_ns += self.origin_ns
        if status >= 500:
            self.balancer.note_failure(self.server)
        else:
            self.balancer.note_success(self.server)
            if self.balancer.times:
                self.balancer.note_latency(self.server, self.origin_ns, now_ns)
        if self.decision.failover is not None and fail_over(self, status):
            return 0
        if self.recording is not None and self.copies is None and self.replayed == self.recording.size:
            self.recording = None          # this answer counts: nobody wants the rest of the body
        self.run_answer_middlewares()
        self.status = self.response.status
        return self.client.put_head(self.response)

    cdef int response_end(self) except -1:
        """The server's answer is complete, its end was put; its connection has taken itself back."""
        self.leave_server()
        self.count()
        return self.client.finish()

    cdef int server_failed(self, int error, bint heard) except -1:
        """The server's end broke and closed.

        heard  some of the answer had come. If not, and the connection had been idle before, it was dead already when the
               request was sent: then a request that may be repeated goes out once more, over a new connection.
        """
        cdef bint reused = self.stream.reused
        cdef bint connected = self.stream.connected
        cdef int status = 502
        if reused and not heard and not self.status and not self.retried and (error == ERROR_EOF or error == ERROR_RESET) \
                and self.request.is_idempotent():
            self.retried = True
            self.server.stats.retries += 1
            self.stream = None
            return self.dispatch(True)
        self.leave_server()
        if error == ERROR_REFUSED or error == ERROR_RESOLVE:
            self.server.stats.connect_errors += 1
        if error != ERROR_RESOURCE and not (reused and not heard):
            self.balancer.note_failure(self.server)
        if self.status:
            self.error = error
            self.count()
            return self.client.abort()
        if not connected and self.redispatch():
            return 0
        self.error = error
        if error == ERROR_TIMEOUT:
            status = 504
        elif error == ERROR_RESOURCE:
            status = 503
        elif error == ERROR_INTERNAL:
            status = 500
        if self.decision.failover is not None and fail_over(self, status):
            return 0
        return self.answer(status, <bytes>FAILURES[status], False)

    cdef int redispatch(self) except -1:
        """No connection to the server could be made, so it has seen nothing of the request: choose another one.

        Returns whether the request is on its way again.
        """
        cdef Decision decision = self.decision
        cdef Server failed = self.server
        cdef LoadBalancer balancer = self.balancer
        cdef list cookies = decision.cookies, guards = decision.guards, path = decision.path
        decision.begin_again(failed, self.request)
        if self.choose():
            self.redispatched += 1
            self.server.stats.retries += 1
            self.record()
            return True
        if not decision.found_nobody():
            self.redispatched += 1
            self.no_server()
            return True
        # Nobody else: the answer is about the one that failed.
        self.server = failed
        self.balancer = balancer
        decision.cookies, decision.guards, decision.path = cookies, guards, path
        return False

    cdef int give_up(self, error, ClientStream client) except -1:
        """An error that nobody expected, while the client's end was not at work: it has to see that the exchange is over."""
        _log.error("internal error in an exchange", exc_info=error)
        if client is None or self.client is not client:
            return 0               # it is over already
        self.error = ERROR_INTERNAL
        self.lose_server()
        self.count()
        return self.client.abort()

    # The client's end

    cdef int client_drained(self) except -1:
        """The client has taken what it was given."""
        if self.stream is not None:
            return self.stream.resume()
        return 0

    cdef int client_gone(self) except -1:
        """The client went away, or broke off its body; it has closed."""
        self.error = ERROR_CLIENT_ABORT
        self.status = 499
        self.lose_server()
        self.count()
        return 0

    cdef int client_stalled(self) except -1:
        """The client's body does not come, or its answer is not taken, in the time allowed."""
        self.error = ERROR_CLIENT_TIMEOUT
        self.lose_server()
        if self.status == 0:
            return self.answer(504, b"Gateway Timeout", False)
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
        if self.waiter is not None:
            step_out(self)
        self.leave_server()
        if stream is not None:
            stream.exchange = None
            stream.close()
        return 0

    cdef void leave_server(self) noexcept:
        if self.stream is not None:
            self.balancer.note_end(self.server)
            self.stream = None

    cdef void count(self) noexcept:
        if self.copies is not None:
            shed_copies(self, False)
        if self.is_copy:
            return
        if self.error >= 0:
            self.entry_point.stats.errors[self.error] += 1
        self.entry_point.stats.responses[self.status // 100 if self.status < 600 else 0] += 1
        if self.entry_point.observer is not None:
            try:
                observe(self)
            except Exception as error:
                _log.error("internal error while noting an exchange", exc_info=error)


cdef Exchange exchange_take(EntryPoint entry_point, ClientStream client, Dialer dialer):
    """An exchange ready to parse a request into. Usually O(1) without a heap call."""
    cdef Exchange exchange
    if kept:
        exchange = <Exchange>kept.pop()
    else:
        exchange = Exchange.__new__(Exchange)
    exchange.entry_point = entry_point
    exchange.client = client
    exchange.dialer = dialer
    exchange.status = 0
    exchange.error = -1
    exchange.retried = False
    exchange.redispatched = 0
    exchange.passed = 0
    exchange.replayed = 0
    exchange.is_copy = False
    exchange.started_ns = exchange.origin_ns = exchange.request_bytes = exchange.response_bytes = 0
    exchange.origin_status = 0
    return exchange


cdef void exchange_give(Exchange exchange) noexcept:
    """The exchange is over and nothing of it is read any more."""
    if exchange.decision.held and exchange.server is not None:
        exchange.balancer.let_go(exchange.server)
    exchange.request.clear()
    exchange.response.clear()
    exchange.client = None
    exchange.stream = None
    exchange.route = None
    exchange.server = None
    exchange.service = None
    exchange.recording = None
    exchange.copies = None
    exchange.balancer = None
    exchange.decision.clear()
    if POOLS and len(kept) < KEPT_EXCHANGES:
        kept.append(exchange)
