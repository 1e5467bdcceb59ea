# One attempt to have a request answered by a server, and what may follow a failed one.

from libc.stdint cimport uint64_t

from lbcore.http.response cimport Response
from lbcore.http.sink cimport Sink
from lbcore.middleware.base cimport Tries
from lbcore.observability.trace cimport Asked
from lbcore.routing.balancer cimport LoadBalancer
from lbcore.routing.decision cimport Decision
from lbcore.routing.server cimport Server


cdef enum Outcome:                     # of an attempt that did not bring the answer for the client
    OUTCOME_STALE                      # its connection had been idle, and was dead by the time the request was sent
    OUTCOME_UNREACHED                  # no connection could be made: the server has seen nothing of the request
    OUTCOME_REFUSED                    # the server has said that it did not look at the request
    OUTCOME_BAD                        # the server may have seen the request, and failed or answered badly


cdef enum Next:                        # what follows
    NEXT_NONE                          # nothing: the client gets an error
    NEXT_SAME                          # the same server, over a new connection
    NEXT_OTHER                         # another server of the same service
    NEXT_RETRY                         # a server that the service chooses once more: the route does not accept the answer
    NEXT_FALLBACK                      # the fallback of the innermost Failover that drops the status


cdef class Attempt:
    cdef Server server                 # None until one is chosen
    cdef LoadBalancer balancer         # that chose the server
    cdef bint counted                  # the server counts it as under way; `leave_server` and `end_rivals` take it back
    cdef bint again                    # at the server of the attempt before, in its place there
    cdef uint64_t asked_ns             # monotonic time of the batch of events in which it was dispatched
    cdef uint64_t sent_ns              # monotonic time of the dispatch, where an observer or the strategy needs it
    cdef uint64_t origin_ns            # from the dispatch to the head of the server's answer; 0 = none came
    cdef int origin_status             # of the server's answer; 0 = none came
    cdef uint64_t ended_ns             # when its connection was free again, or broke; set where `sent_ns` is
    cdef int error                     # ErrorKind, -1 when all went well
    cdef bint is_hedge                 # begun while another one was under way
    cdef bint abandoned                # another attempt, under way at the same time, was faster
    cdef Sink stream                   # the ServerStream of an attempt under way that is not the present one; else None
    cdef Response response             # likewise: where its head is read into, owned
    cdef Asked* asked                  # its span, in the memory of the request; NULL = it has none

    cdef void clear(self) noexcept


cdef int next_attempt(Attempt attempt, int outcome, int status, bint repeatable, Decision decision, Tries tries, int made) noexcept
