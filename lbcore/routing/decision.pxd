# What choosing a server for a request found out, for the exchange to act on and for others to tell.

from libc.stdint cimport uint64_t

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response


cdef enum:
    MOST_TRIES = 3                     # servers of one LoadBalancer, when one after the other cannot be reached
    MOST_IN_ALL = 6                    # of several ones, until a fallback is asked


cdef struct Mark:                      # how far a decision had come
    Py_ssize_t cookies
    Py_ssize_t mirrors
    Py_ssize_t guards
    Py_ssize_t path
    Py_ssize_t failovers
    Py_ssize_t changes


cdef class Stage:
    """A Failover that a decision has come by, and how far it had come before the main service was asked."""

    cdef object service
    cdef Mark mark
    cdef Stage outer                   # passed before; None = this is the first


cdef class Decision:
    cdef object balancer               # LoadBalancer whose server was chosen
    cdef Stage failover                # at a Failover that wants to see the status of the answer; None = at none
    cdef Py_ssize_t failovers          # how many there are, its outer ones with it
    cdef Mark start                    # where another try begins
    cdef list cookies                  # Set-Cookie values for the answer, outermost service first; None = none
    cdef list drawn                    # (Mirroring, its Mirrors that are due) of this request; None = none
    cdef list mirrors                  # Mirror that get a copy of the request; None = none
    cdef Py_ssize_t copied             # of these, how many have been taken care of
    cdef list guards                   # middlewares of services, entered in this order, that want the answer; None = none
    cdef list originals                # the request as it came to each Guarded; kept for other requests. None = none
    cdef Py_ssize_t changes            # how many of these count
    cdef list failed                   # Members, and LoadBalancers, that are not to be asked: nobody was reached. None = none
    cdef list tried                    # LoadBalancer of each server tried in vain, since the last fallback; None = none
    cdef bint spent                    # enough were: no other is tried, but those of a fallback
    cdef list fallen                   # Failovers whose fallback is asked from now on; None = none
    cdef list path                     # (service, index of its member; -1 = none) of each level; None = nobody asks for it
    cdef bint on_trial                 # a server on trial, busy with another request, was passed over
    cdef bint answered                 # a middleware of a service has answered
    cdef Response response             # where it puts its answer
    cdef object queue                  # WaitQueue: every server that stands is full, wait there; None = no need to
    cdef object wanted                 # Server of the session, where that is the one that is full; None = any
    cdef uint64_t since_ns             # monotonic time since which it waits; 0 = it has just come
    cdef bint held                     # a slot of the chosen server, or its trial, is taken, and nobody has taken it over yet
    cdef bytes refusal                 # body of the 503 when nobody may be chosen

    cdef bint found_nobody(self) noexcept
    cdef int give_up(self, object failover) except -1
    cdef int exclude(self, object member) except -1
    cdef int remember(self, Request request) except -1
    cdef int may_fail_over(self, object service) except -1
    cdef int fall_back(self, Request request) except -1
    cdef int begin_again(self, object server, Request request) except -1
    cdef int go_back(self, Mark mark, Request request) except -1
    cdef Mark mark(self) noexcept
    cdef void clear(self) noexcept
