# One exchange, a request and its answer, as the two ends that carry its bytes see it.
#
# Neither end knows the protocol of the other one: HTTP/1 or HTTP/2, plain or encrypted.

from libc.stdint cimport int64_t, uint64_t

from lbcore.http.render cimport ForwardPolicy
from lbcore.http.message cimport Message
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.middleware.base cimport Context, Pending, Reply
from lbcore.observability.trace cimport Trace
from lbcore.proxy.attempt cimport Attempt
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.recording cimport Recording
from lbcore.http.sink cimport Sink
from lbcore.routing.mirroring cimport Mirror
from lbcore.routing.queue cimport WaitQueue
from lbcore.routing.server cimport Server
from lbcore.routing.service cimport Service


cdef class ClientStream(Sink):         # the end the request came from: takes the answer, as a sink its body
    cdef Exchange exchange             # None between exchanges

    cdef int put_head(self, Response response) except -1
    cdef int put_interim(self, Response response) except -1
    cdef int want_body(self) except -1
    cdef int rewind(self) except -1
    cdef int switch(self, ServerStream server) except -1
    cdef int finish(self) except -1
    cdef int abort(self) except -1
    cdef object own_pool(self, Server server, bint make)


cdef enum Interim:             # what became of an interim answer
    INTERIM_PASSED = 0         # it was passed on, unless the client must not see it
    INTERIM_CONTINUE           # 100 Continue, which ends here
    INTERIM_TOO_MANY           # a failure of the server


cdef class ServerStream(Sink):         # the end that answers: takes the request, as a sink its body
    cdef Exchange exchange             # None while it has none
    cdef Server server
    cdef int interims                  # 1xx answers to the present request

    cdef int take_interim(self) except -1
    cdef bint was_connected(self) noexcept
    cdef bint was_reused(self) noexcept
    cdef bint was_refused(self) noexcept
    cdef int start(self, Exchange exchange) except -1
    cdef int resume(self) except -1
    cdef object take_socket(self)
    cdef int discard(self) except -1
    cdef int abort(self) except -1


cdef class Dialer:                     # makes and keeps connections to servers, and keeps the time
    cdef const uint64_t* clock         # monotonic time of the present batch of events, in ns; valid as long as the dialer

    cdef int connect(self, Exchange exchange, bint anew) except -1
    cdef int watch_queue(self, WaitQueue queue) except -1
    cdef int arm(self, Pending pending, int64_t timeout_ms) except -1
    cdef int disarm(self, Pending pending) except -1
    cdef uint64_t now_ns(self) noexcept
    cdef void hurry(self) noexcept
    cdef int mirror(self, Exchange exchange, Request request, Mirror mirror, Recording body) except -1
    cdef Reply ask(self, Exchange exchange, Service service, Request request, bytes body, int64_t limit_bytes)
    cdef int settle_later(self, Reply reply) except -1


cdef class Exchange(Context):
    cdef Request request
    cdef Response response
    cdef EntryPoint entry_point
    cdef uint64_t serial               # never used twice: distinguishes this exchange from later ones in the same object
    cdef ClientStream client
    cdef ServerStream stream           # of the present attempt; None until it is dispatched, and after its part is done
    cdef Attempt attempt               # the present or the last one
    cdef list rivals                   # Attempts under way beside the present one, which hold their streams; None = none
    cdef Sink answer_sink              # where the answer's body goes now: `answer_filters`, or HELD while the answer waits
    cdef Sink request_sink             # where the request's body goes: `stream`, or the first filter of a chain that ends there;
                                       # None while there is no stream
    cdef Dialer dialer
    cdef ForwardPolicy forward
    cdef bytes server_name             # that the client's handshake asked for; read only where `head.encrypted` is set
    cdef bint is_subrequest            # lbcore's own, for a mirror or a middleware: it has all of its body, and is not counted here
    cdef uint64_t request_bytes        # of the body, from the client
    cdef uint64_t response_bytes       # of the body, to the client
    cdef int status                    # of the answer; 0 until its head is put
    cdef int error                     # ErrorKind, -1 when all went well
    cdef Trace* trace                  # in the memory of `request`; NULL = it is not traced

    cdef int begin_wait(self) except -1
    cdef Pending end_wait(self)
    cdef int begin(self) except -1
    cdef int begin_subrequest(self, Service service) except -1
    cdef int refuse(self, int status, int error) except -1
    cdef int request_end(self, Message trailers) except -1
    cdef int body_refused(self, int status) except -1
    cdef void keep_refused(self, bytes body) noexcept
    cdef int server_ready(self) except -1
    cdef int response_head(self) except -1
    cdef int interim_head(self) except -1
    cdef int switch_protocols(self) except -1
    cdef int answer_refused(self, int status) except -1
    cdef int response_end(self) except -1
    cdef int server_failed(self, int error, bint heard) except -1
    cdef int internal_error(self, error, uint64_t serial) except -1
    cdef int client_drained(self) except -1
    cdef int client_gone(self) except -1
    cdef int client_stalled(self, int status) except -1
    cdef int bad_body(self) except -1
    cdef int break_off(self, int error, int status) except -1
    cdef int tunnel_ended(self) except -1
    cdef int lose_server(self) except -1
    cdef void count(self) noexcept
    cdef void attach(self, ServerStream stream) noexcept
    cdef int make_present(self, ServerStream stream) except -1
    cdef int go_on(self, Pending settled) except -1
    cdef int settled(self, Pending pending) except -1
    cdef int answer(self, int status, bytes text, bint plain) except -1
    cdef Sink body_sink(self)

    cdef inline int heed(self, ServerStream stream) except -1:
        """To be called first by a stream that is about to say something: of several attempts under way its own is the present
        one from here on."""
        return 0 if self.rivals is None else self.make_present(stream)
