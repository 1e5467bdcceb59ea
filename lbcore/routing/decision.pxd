# What choosing a server for a request found out, for the exchange to act on and for others to tell.

from libc.stdint cimport uint64_t

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response


cdef struct Mark:                      # how far a decision had come
    Py_ssize_t cookies
    Py_ssize_t mirrors
    Py_ssize_t guards
    Py_ssize_t path
    void* failover                     # borrowed, as is `scope`: what comes after refers to what was before
    void* scope


cdef class Stage:
    """A service that a decision has come by, and how far it had come before that chose."""

    cdef object service
    cdef Mark mark
    cdef Stage outer                   # of the same kind, passed before; None = this is the first
    cdef Request before                # the request as it came to the middlewares in front of it; None = there are none


cdef class Decision:
    cdef object balancer               # LoadBalancer whose server was chosen
    cdef Stage failover                # at a Failover that wants to see the status of the answer; None = at none
    cdef Stage scope                   # at the service in which another try chooses; None = where the request came in
    cdef list cookies                  # Set-Cookie values for the answer, outermost service first; None = none
    cdef list mirrors                  # Mirror that get a copy of the request; None = none
    cdef Py_ssize_t copied             # of these, how many have been taken care of
    cdef list guards                   # middlewares of services, entered in this order, that want the answer; None = none
    cdef list failed                   # members that could not be reached: not to be chosen again; None = none
    cdef list path                     # (service, index of its member; -1 = none) of each level; None = nobody asks for it
    cdef bint again                    # another try of the same request: the mirrors have been chosen
    cdef bint on_trial                 # a server on trial, busy with another request, was passed over
    cdef bint answered                 # a middleware of a service has answered
    cdef Response response             # where it puts its answer
    cdef object queue                  # WaitQueue: every server that stands is full, wait there; None = no need to
    cdef object wanted                 # Server of the session, where that is the one that is full; None = any
    cdef uint64_t since_ns             # monotonic time since which it waits; 0 = it has just come
    cdef bint held                     # a slot of the chosen server is taken, and nobody has taken it over yet
    cdef bytes refusal                 # body of the 503 when nobody may be chosen

    cdef int enter(self, object service, Request before) except -1
    cdef int may_fail_over(self, object service) except -1
    cdef int fall_back(self, object service, Request request) except -1
    cdef int choose_again(self) except -1
    cdef void clear(self) noexcept
    cdef Mark mark(self) noexcept
    cdef int go_back(self, Mark mark, Request request) except -1
