# What choosing a server for a request found out, for the exchange to act on and for others to tell.

from libc.stdint cimport uint64_t


cdef enum:
    MOST_TRIES = 3                     # servers of one LoadBalancer, when one after the other cannot be reached
    MOST_IN_ALL = 6                    # of several ones, until a fallback is asked


cdef struct Savepoint:                 # how far a decision had come: the lengths of its lists
    Py_ssize_t cookies
    Py_ssize_t mirrors
    Py_ssize_t gates
    Py_ssize_t path
    Py_ssize_t failovers


cdef class FailoverStep:
    """A Failover that a decision has come by, and how far it had come before the main service was asked."""

    cdef object service                # the Failover
    cdef Savepoint before
    cdef FailoverStep outer            # passed before; None = this is the first


cdef class Decision:
    cdef object balancer               # LoadBalancer whose server was chosen
    cdef FailoverStep failover         # at the innermost Failover that sees the status of the answer; None = at none
    cdef Py_ssize_t failovers          # how many there are, its outer ones with it
    cdef Savepoint start               # where another attempt begins
    cdef list cookies                  # Set-Cookie values for the answer, outermost service first; None = none
    cdef list drawn                    # (Mirroring, its Mirrors that are due) of this request; None = none
    cdef list mirrors                  # Mirror that get a copy of the request; None = none
    cdef list mirrored_behind          # of each of these: how many of `gates` the request passes before it is copied
    cdef Py_ssize_t copied             # of the mirrors, how many have been taken care of
    cdef list gates                    # Guarded services passed, outermost first: their middlewares run next; None = none
    cdef list failed                   # Members, and LoadBalancers, that could not be connected to and are not asked again; None = none
    cdef list tried                    # LoadBalancer of each server tried in vain, since the last fallback; None = none
    cdef bint spent                    # enough were: no other is tried, but those of a fallback
    cdef list fallen                   # Failovers whose fallback is asked from now on; None = none
    cdef list path                     # (service, index of its member; -1 = none) of each level; None = it is not recorded
    cdef bint on_trial                 # a server on trial, busy with another request, was passed over
    cdef object queue                  # WaitQueue: every server that may serve is full, wait there; None = no need to
    cdef object session_server         # Server of the session, where that is the one that is full; None = any
    cdef uint64_t since_ns             # monotonic time since which it waits; 0 = it has just come
    cdef bint slot_taken               # of the chosen server, or its trial, for an attempt that has not begun yet
    cdef bytes refusal                 # body of the 503 when no server may be chosen

    cdef int pass_gate(self, object service) except -1
    cdef int mirror(self, object mirror) except -1
    cdef int use_fallback(self, object failover) except -1
    cdef int exclude(self, object member) except -1
    cdef int may_fail_over(self, object service) except -1
    cdef int fall_back(self, FailoverStep step) except -1
    cdef int begin_again(self, object server) except -1
    cdef int go_back(self, Savepoint before) except -1
    cdef Savepoint savepoint(self) noexcept
    cdef void clear(self) noexcept
