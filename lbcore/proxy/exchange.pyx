"""One exchange, a request and its answer, as the two ends that carry its bytes see it. No I/O.

Neither end knows the protocol of the other one. The parts of an exchange derive from each other, and each knows those before it:
`request_way` (the body of the request), `attempts` (servers), `answer_way` (the answer), `whole` (the request's way in).
"""

from libc.stdint cimport int64_t, uint64_t

from lbcore.http.message cimport Message
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.middleware.base cimport Pending, Reply
from lbcore.proxy.recording cimport Recording
from lbcore.http.sink cimport Sink
from lbcore.routing.mirroring cimport Mirror
from lbcore.routing.queue cimport WaitQueue
from lbcore.routing.service cimport Service


cdef enum:
    INTERIM_LIMIT = 64         # most 1xx answers to a request


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

        Its end goes to `Exchange.request_end`, a refusal by the sink to `Exchange.body_refused`.
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

    cdef object own_pool(self, Server server, bint make):
        """The Pool of connections to this server that are the client's alone, because they were authenticated for it; None if there
        is none. `make`: begin one; None if the client has no connection that would end it."""
        return None


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

    cdef int take_interim(self) except -1:
        """Process the interim answer in `exchange.response`, except 101. Returns an Interim. `exchange` may be None afterwards."""
        cdef Response response = self.exchange.response
        self.interims += 1
        if self.interims > INTERIM_LIMIT:
            return INTERIM_TOO_MANY
        if response.status == 100:
            response.clear()
            return INTERIM_CONTINUE
        self.exchange.interim_head()
        return INTERIM_PASSED

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
        """Discard the rest of the answer: read past it if it is short, else abort. `exchange` is None already."""
        return self.abort()

    cdef int abort(self) except -1:
        """Close the stream at once, without a call to the exchange."""
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
        """Call `pending.expire` after that time, unless `disarm` is called before. Sets `pending.timer`."""
        return 0

    cdef int disarm(self, Pending pending) except -1:
        """Stop `pending.timer`, which is None then."""
        return 0

    cdef uint64_t now_ns(self) noexcept:
        """The time, in ns, by the clock of `watch_queue`."""
        return 0

    cdef void hurry(self) noexcept:
        """Give other work of the event loop its turn after the present batch of events."""
        pass

    cdef int mirror(self, Exchange exchange, Request request, Mirror mirror, Recording body) except -1:
        """Send `request`, a copy of the exchange's, to a mirror. Its result has no effect on the exchange."""
        return 0

    cdef Reply ask(self, Exchange exchange, Service service, Request request, bytes body, int64_t limit_bytes):
        """Send a request of lbcore's own to a service. The Reply is settled later, never within this call."""
        raise NotImplementedError

    cdef int settle_later(self, Reply reply) except -1:
        """Settle a Reply in the next round of the event loop."""
        raise NotImplementedError


cdef class Exchange(Context):
    """What both ends know of an exchange, and the calls that they make for events at their side."""

    # Waiting

    cdef int wait(self, Pending pending, int64_t timeout_ms) except -1:
        if self.pending is not None or timeout_ms <= 0:
            raise ValueError("an exchange waits for one Pending at a time, with a timeout")
        pending.context = self
        self.pending = pending
        return self.dialer.arm(pending, timeout_ms)

    cdef int disarm(self, Pending pending) except -1:
        return self.dialer.disarm(pending)

    cdef Reply ask(self, object service, Request request, bytes body, int64_t limit_bytes, int64_t timeout_ms):
        cdef Reply reply
        if self.pending is not None or timeout_ms <= 0:
            raise ValueError("an exchange waits for one Pending at a time, with a timeout")
        reply = self.dialer.ask(self, <Service?>service, request, body, limit_bytes)
        self.wait(reply, timeout_ms)
        return reply

    cdef int hurry(self) except -1:
        self.dialer.hurry()
        return 0

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

    cdef Pending end_wait(self):
        """Wait no more. Returns what was waited for."""
        cdef Pending pending = self.pending
        self.pending = None
        self.waiting = self.settled_early = False
        pending.context = None
        if pending.timer is not None:
            self.dialer.disarm(pending)
        return pending

    # What happens

    cdef int begin(self) except -1:
        """Route the request, whose head is complete, and send it to a server."""
        raise NotImplementedError

    cdef int begin_subrequest(self, Service service) except -1:
        """Ask a service for lbcore itself: `request` is complete, and its client is a LocalStream."""
        raise NotImplementedError

    cdef int refuse(self, int status, int error) except -1:
        """Answer a request that was not understood; its connection cannot go on."""
        raise NotImplementedError

    cdef int request_end(self, Message trailers) except -1:
        """The request is complete."""
        raise NotImplementedError

    cdef int body_refused(self, int status) except -1:
        """A filter does not let the request's body pass."""
        raise NotImplementedError

    cdef void keep_refused(self, bytes body) noexcept:
        """The stream was refused, and gives back all that it was given of the request's body. `server_failed` follows."""
        pass

    cdef int server_ready(self) except -1:
        """The server's end takes more of the request's body: first what filters have kept back, or recorded."""
        raise NotImplementedError

    cdef int response_head(self) except -1:
        """The server's final head is in `response`. Returns 0, or 1: the stream is none of this exchange any more, since its
        answer is not the one that the client gets."""
        raise NotImplementedError

    cdef int interim_head(self) except -1:
        """The head of a 1xx answer is in `response`; the final one is still to come."""
        raise NotImplementedError

    cdef int switch_protocols(self) except -1:
        """The server has switched to the protocol that the client asked for; the head that says so is in `response`."""
        raise NotImplementedError

    cdef int answer_refused(self, int status) except -1:
        """A filter does not let the rest of the answer's body pass: the client has to see that it is incomplete."""
        raise NotImplementedError

    cdef int response_end(self) except -1:
        """The server's answer is complete, its end was put; its connection has taken itself back."""
        raise NotImplementedError

    cdef int server_failed(self, int error, bint heard) except -1:
        """The server's end broke and closed.

        heard  some of the answer had come. If not, and the connection had been idle before, it was dead already when the
               request was sent.
        """
        raise NotImplementedError

    cdef int internal_error(self, error, uint64_t serial) except -1:
        """An unexpected error, in the exchange of that serial number, while the client's end was not at work: the
        client has to see that the exchange is over."""
        raise NotImplementedError

    cdef int client_drained(self) except -1:
        """The client has taken what it was given."""
        raise NotImplementedError

    cdef int client_gone(self) except -1:
        """The client went away, or broke off its body; it has closed."""
        raise NotImplementedError

    cdef int client_stalled(self, int status) except -1:
        """The client's body does not come, or its answer is not taken, in the time allowed: 408 or 504."""
        raise NotImplementedError

    cdef int bad_body(self) except -1:
        """The framing of the request's body is broken."""
        raise NotImplementedError

    cdef int break_off(self, int error, int status) except -1:
        """End the exchange, whatever it does: by an answer with `status`, unless that is 0, or the head of another one was sent. Raises
        nothing of what that leads to."""
        raise NotImplementedError

    cdef int tunnel_ended(self) except -1:
        """Both ends of a switched protocol have closed."""
        raise NotImplementedError

    cdef int lose_server(self) except -1:
        """Break off with the server, if one is at work."""
        raise NotImplementedError

    cdef void count(self) noexcept:
        pass

    cdef void attach(self, ServerStream stream) noexcept:
        """A stream to the server chosen is there, if not connected yet: the body goes to it from now on."""
        pass

    cdef int make_present(self, ServerStream stream) except -1:
        """Of several attempts under way, have that of this stream be the present one."""
        raise NotImplementedError

    cdef int go_on(self, Pending settled) except -1:
        """Go through the phases that are left, until something has to be waited for, or an answer is made, or a server asked.

        settled  what was waited for; None: nothing was.
        """
        raise NotImplementedError

    cdef int settled(self, Pending pending) except -1:
        """Continue after a wait, with the request or with the answer."""
        raise NotImplementedError

    cdef int answer(self, int status, bytes text, bint plain) except -1:
        """Answer in the server's place. `text` has to be a constant."""
        raise NotImplementedError

    cdef Sink body_sink(self):
        """Where the request's body goes now; None while there is no stream. A recording without owners is taken out."""
        raise NotImplementedError
