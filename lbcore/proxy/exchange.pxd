# One exchange, a request and its answer, and what it asks of the two ends that carry its bytes.
#
# Neither side of the exchange knows what the other speaks: HTTP/1 or HTTP/2, plain or encrypted.

from libc.stdint cimport int64_t, uint64_t

from lbcore.http.render cimport ForwardPolicy
from lbcore.http.message cimport Message
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span
from lbcore.middleware.base cimport Context, Pending, Reply, Tries
from lbcore.proxy.attempt cimport Attempt
from lbcore.proxy.copies cimport Copy
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.explainer cimport Explanation
from lbcore.proxy.gates cimport Gates
from lbcore.proxy.recording cimport Recording, Replay
from lbcore.proxy.way_back cimport WayBack
from lbcore.http.sink cimport Filter, Sink
from lbcore.routing.asker cimport Asker
from lbcore.routing.decision cimport Decision
from lbcore.routing.mirroring cimport Mirror
from lbcore.routing.queue cimport WaitQueue
from lbcore.routing.route cimport Route
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


cdef class ServerStream(Sink):         # the end that answers: takes the request, as a sink its body
    cdef Exchange exchange             # None while it has none
    cdef Server server

    cdef bint was_connected(self) noexcept
    cdef bint was_reused(self) noexcept
    cdef bint was_refused(self) noexcept
    cdef int start(self, Exchange exchange) except -1
    cdef int resume(self) except -1
    cdef object take_socket(self)
    cdef int discard(self) except -1
    cdef int abort(self) except -1


cdef class Dialer:                     # makes and keeps connections to servers, and keeps the time

    cdef int connect(self, Exchange exchange, bint anew) except -1
    cdef int watch_queue(self, WaitQueue queue) except -1
    cdef int arm(self, Pending pending, int64_t timeout_ms) except -1
    cdef uint64_t now_ns(self) noexcept
    cdef int mirror(self, Exchange exchange, Request request, Mirror mirror, Recording body) except -1
    cdef Reply ask(self, Exchange exchange, Service service, Request request, bytes body, int64_t limit_bytes)


cdef enum Phase:                       # of an exchange, on the way of its request
    PHASE_ROUTE = 0                    # passes the middlewares of its router
    PHASE_CHOOSE                       # a server is chosen
    PHASE_QUEUE                        # waits for one, since all are full
    PHASE_GATES                        # passes the middlewares of the services that it goes through
    PHASE_SERVER                       # was sent


cdef enum Sender:                      # who sends the rest of an answer whose head was sent
    SENDER_STREAM = 0                  # the server's stream reads it, and puts it into `answer_sink`
    SENDER_EXCHANGE                    # the exchange has it, and has put what the client takes: it may be over
    SENDER_WAITS                       # none so far: the answer waits in a middleware, and its head was not sent


cdef class Pause(Pending):
    pass


cdef class Exchange(Context):
    cdef Request request
    cdef Response response
    cdef EntryPoint entry_point
    cdef uint64_t serial               # never used twice: tells an exchange from one that uses the same object later
    cdef ClientStream client
    cdef ServerStream stream           # of the present attempt; None until it is dispatched, and after its part is done
    cdef Sink answer_sink              # where the answer's body goes now: `answer_filters`, or HELD while the answer waits
    cdef Sink answer_filters           # the first filter of the chain that ends at `client`, or that itself; set once there is an answer
    cdef Sink request_sink             # where the request's body goes: `stream`, or the first filter of a chain that ends there;
                                       # None while there is no stream
    cdef Filter request_filters        # the first of that chain, kept from one stream to the next; None = none
    cdef Filter request_tail           # the last one of it: what goes on to the stream
    cdef Dialer dialer
    cdef int phase                     # Phase
    cdef Route route                   # None until one matched
    cdef Py_ssize_t passed             # middlewares of it that let the request through: these see the answer
    cdef Service service               # that chooses the server; None until the router's middlewares were passed
    cdef Asker asker                   # what it chooses by
    cdef Decision decision
    cdef Gates gates
    cdef WayBack way_back
    cdef Attempt attempt               # the present or the last one
    cdef list attempts                 # Attempts before it, the first one first; None = none
    cdef list rivals                   # Attempts under way beside the present one, which hold their streams; None = none
    cdef Tries tries                   # that the route wants; None = none of its own
    cdef int tried                     # attempts that `tries` counts
    cdef bint is_retry                 # the attempt that comes next is one of these
    cdef uint64_t tries_until_ns       # no other one begins later, by the dialer's clock; 0 = any time
    cdef int retries                   # attempts after the first one, without those at fallbacks
    cdef ForwardPolicy forward
    cdef bytes server_name             # that the client's handshake asked for; read only where `head.encrypted` is set
    cdef Recording recording           # the filter that keeps the request's body for others; None = none needs it. It stands
                                       # before the filters of the gates that a fallback does not go through
    cdef Py_ssize_t recorded_behind    # how many gates it stands behind
    cdef Replay replay                 # of it: for a fallback; None = no fallback wants it
    cdef list copies                   # Copy, that wait for the end of the body; None = none
    cdef bint body_ended               # the client's body has come to its end
    cdef bint answer_ended             # the answer's end was put, into `answer_sink`
    cdef bint is_subrequest            # lbcore's own, for a mirror or a middleware: it has all of its body, and is not counted here
    cdef Explanation explanation       # None = none is asked for
    cdef uint64_t started_ns           # monotonic, where the entry point has an observer
    cdef uint64_t request_bytes        # of the body, from the client
    cdef uint64_t response_bytes       # of the body, to the client
    cdef int status                    # of the answer; 0 until its head is put
    cdef int error                     # ErrorKind, -1 when all went well
    cdef Exchange next_kept            # while it waits to be used again

    cdef int begin(self) except -1
    cdef int begin_subrequest(self, Service service) except -1
    cdef int go_on(self, Pending settled) except -1
    cdef int run_middlewares(self, Pending settled) except -1
    cdef int begin_wait(self) except -1
    cdef int settled(self, Pending pending) except -1
    cdef Pending end_wait(self)
    cdef Server find_server(self)
    cdef bint choose(self) except *
    cdef int attempt_at(self, Server server) except -1
    cdef int keep_attempt(self) except -1
    cdef int release_slot(self) noexcept
    cdef int no_server(self) except -1
    cdef int line_up(self) except -1
    cdef int overloaded(self) except -1
    cdef int ask_server(self) except -1
    cdef int dispatch(self, bint again) except -1
    cdef bint follow(self, int outcome, int status) except *
    cdef bint is_repeatable(self) noexcept
    cdef Tries tries_left(self)
    cdef bint repeats_answers(self) noexcept
    cdef int prepare_again(self, Service service) except -1
    cdef bint retry(self) except *
    cdef bint hedge(self) except *
    cdef int set_aside(self, list cookies) except -1
    cdef int make_present(self, ServerStream stream) except -1
    cdef int take_up(self, Attempt attempt) except -1
    cdef int go_on_with_rival(self) except -1
    cdef int end_rivals(self) except -1

    cdef inline int heed(self, ServerStream stream) except -1:
        """To be called first by a stream that is about to say something: of several attempts under way its own is the present
        one from here on."""
        return 0 if self.rivals is None else self.make_present(stream)

    cdef int ask_same(self) except -1
    cdef bint ask_other(self) except *
    cdef int fall_back(self, int status) except -1
    cdef int ask_again(self, Service service) except -1
    cdef bint start_recording(self) except *
    cdef int64_t repeatable_bytes(self, int64_t most) noexcept
    cdef int begin_replay(self, int64_t limit, int64_t length, bint required) except -1
    cdef int end_replay(self) except -1
    cdef int make_copies(self) except -1
    cdef int send_copies(self) except -1
    cdef int send_copy(self, Copy copy, Recording body) except -1
    cdef void shed_copies(self) noexcept
    cdef int too_large(self) except -1
    cdef void attach(self, ServerStream stream) noexcept
    cdef int leave_filters(self, Py_ssize_t step) except -1
    cdef void end_steps(self, Py_ssize_t step) noexcept
    cdef list listed_filters(self)
    cdef int link_filters(self, list filters) except -1
    cdef int add_recording(self) except -1
    cdef int place_recording(self) except -1
    cdef int drop_recording(self) except -1
    cdef int request_end(self, Message trailers) except -1
    cdef int body_refused(self, int status) except -1
    cdef int server_ready(self) except -1

    cdef inline Sink body_sink(self):
        """Where the request's body goes now; a recording without owners is taken out."""
        if self.recording is not None and self.recording.is_spent() and not self.recording.is_behind():
            self.end_replay()
        return self.request_sink

    cdef inline bint is_replayable(self) noexcept:
        """Whether all of the body that has come is kept for a fallback."""
        return self.replay is not None and not self.replay.overflowed

    cdef int refuse(self, int status, int error) except -1
    cdef int answer(self, int status, bytes text, bint plain) except -1
    cdef int send_answer(self) except -1
    cdef int put_answer(self) except -1
    cdef int finish(self) except -1
    cdef int set_cookies(self) except -1
    cdef int begin_way_back(self) except -1
    cdef int go_back(self, Pending settled) except -1
    cdef int go_on_back(self, Pending settled) except -1
    cdef int frame_answer(self) except -1
    cdef int replace_answer(self) except -1
    cdef dict outcome(self)

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
    cdef int lose_server(self) except -1
    cdef int tunnel_ended(self) except -1
    cdef void leave_server(self) noexcept
    cdef void count(self) noexcept
    cdef int tell_observer(self) except -1


cdef Exchange exchange_take(EntryPoint entry_point, ClientStream client, Dialer dialer)
cdef void exchange_give(Exchange exchange) noexcept
