# One exchange, a request and its answer, and what it asks of the two ends that carry its bytes.
#
# Neither side of the exchange knows what the other speaks: HTTP/1 or HTTP/2, plain or encrypted.

from libc.stdint cimport int64_t, uint64_t

from lbcore.http.render cimport ForwardPolicy
from lbcore.http.message cimport Message
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.routing.mirroring cimport Mirror
from lbcore.routing.queue cimport Waiter, WaitQueue
from lbcore.routing.route cimport Route
from lbcore.routing.server cimport Server
from lbcore.routing.service cimport Service
from lbcore.proxy.recording cimport Recording
from lbcore.routing.balancer cimport LoadBalancer
from lbcore.routing.decision cimport Decision


cdef class ClientStream:               # the end the request came from
    cdef Exchange exchange             # None between exchanges
    cdef bint blocked                  # what was put has not gone out: put no more until `Exchange.client_drained`
    cdef int splice_fd                 # descriptor that takes body bytes as they are; -1 when the answer is framed or encrypted

    cdef int put_head(self, Response response) except -1
    cdef int put_interim(self, Response response) except -1
    cdef int put_body(self, Span data) except -1
    cdef int put_end(self, Message trailers) except -1
    cdef int flush(self) except -1
    cdef void write_failed(self) noexcept
    cdef void wait_for_output(self) noexcept
    cdef int want_body(self) except -1
    cdef int rewind(self) except -1
    cdef int tunnel(self, ServerStream server) except -1
    cdef int finish(self) except -1
    cdef int abort(self) except -1


cdef class ServerStream:               # the end that answers
    cdef Exchange exchange             # None while idle
    cdef Server server
    cdef object pool                   # the Pool it lies in; None while in use
    cdef ServerStream newer            # neighbours in the pool
    cdef ServerStream older
    cdef bint blocked                  # what was put has not gone out: put no more until `Exchange.server_ready`
    cdef int splice_fd                 # descriptor that takes body bytes as they are, or -1
    cdef bint connected                # it stood at some time: the server may have seen a request
    cdef bint reused                   # it has answered before, so it may have died unnoticed

    cdef int start(self, Exchange exchange) except -1
    cdef int put_body(self, Span data) except -1
    cdef int put_end(self) except -1
    cdef int flush(self) except -1
    cdef void write_failed(self) noexcept
    cdef void wait_for_output(self) noexcept
    cdef int resume(self) except -1
    cdef int close(self) except -1


cdef class Dialer:                     # makes new connections to servers

    cdef int dial(self, Exchange exchange) except -1
    cdef int watch_queue(self, WaitQueue queue) except -1
    cdef int mirror(self, Exchange exchange, Request request, Mirror mirror, Recording body) except -1


cdef class Exchange:
    cdef Request request
    cdef Response response
    cdef EntryPoint entry_point
    cdef ClientStream client
    cdef ServerStream stream           # None until a server is chosen, and after its part is done
    cdef Dialer dialer
    cdef Waiter waiter                 # while all servers are full
    cdef Service service               # that chooses the server
    cdef Recording recording           # of the request's body, while somebody may want it again; None = nobody
    cdef Py_ssize_t replayed           # bytes of it that the server at work has been given
    cdef list copies                   # (Mirror, Request, bytes reserved) that wait for the end of the body; None = none
    cdef bint is_copy                  # for a mirror: counted there alone
    cdef Route route                   # None until one matched
    cdef Py_ssize_t passed             # middlewares of it that let the request through: these see the answer
    cdef Server server
    cdef Decision decision
    cdef LoadBalancer balancer         # that chose the server
    cdef uint64_t sent_ns              # monotonic time of the dispatch, where the balancer goes by it
    cdef ForwardPolicy forward
    cdef uint64_t started_ns           # monotonic, where somebody watches
    cdef uint64_t origin_ns            # from the dispatch to the head of the server's answer; 0 = none came
    cdef int origin_status             # of the server's answer; 0 = none came
    cdef uint64_t request_bytes        # of the body, from the client
    cdef uint64_t response_bytes       # of the body, to the client
    cdef int status                    # of the answer; 0 until its head is put
    cdef int error                     # ErrorKind, -1 when all went well
    cdef bint retried                  # over a new connection to the same server
    cdef int redispatched              # times another server was chosen because a connection could not be made

    cdef int begin(self) except -1
    cdef int choose(self) except -1
    cdef int no_server(self) except -1
    cdef int too_large(self) except -1
    cdef int begin_copy(self, Service service) except -1
    cdef int record(self) except -1
    cdef int put_body(self, Span data) except -1
    cdef int put_end(self) except -1
    cdef int dispatch(self, bint fresh) except -1
    cdef int redispatch(self) except -1
    cdef int refuse(self, int status, int error) except -1
    cdef int answer(self, int status, bytes text, bint plain) except -1
    cdef int send_answer(self) except -1
    cdef int set_cookies(self) except -1
    cdef int run_answer_middlewares(self) except -1

    cdef int server_ready(self) except -1
    cdef int response_head(self) except -1
    cdef int response_end(self) except -1
    cdef int server_failed(self, int error, bint heard) except -1
    cdef int give_up(self, error, ClientStream client) except -1
    cdef int client_drained(self) except -1
    cdef int client_gone(self) except -1
    cdef int client_stalled(self) except -1
    cdef int bad_body(self) except -1
    cdef int lose_server(self) except -1
    cdef int tunnel_ended(self) except -1
    cdef void leave_server(self) noexcept
    cdef void count(self) noexcept


cdef Exchange exchange_take(EntryPoint entry_point, ClientStream client, Dialer dialer)
cdef void exchange_give(Exchange exchange) noexcept
