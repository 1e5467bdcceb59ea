# The decision: the results of choosing a server for a request.

from libc.stdint cimport uint64_t


cdef enum:
    MOST_TRIES = 3                     # most servers of one LoadBalancer that are tried when servers cannot be reached; default of `most_tries`
    MOST_IN_ALL = 6                    # most servers of all LoadBalancers, until a fallback is asked


cdef struct Savepoint:                 # the lengths of a decision's lists at some time
    Py_ssize_t cookies
    Py_ssize_t mirrors
    Py_ssize_t gates
    Py_ssize_t path
    Py_ssize_t failovers


cdef class FailoverStep:
    """A Failover on the way of a decision, and the state of the decision before its main service was asked."""

    cdef object service                # the Failover
    cdef Savepoint before
    cdef FailoverStep outer            # the previous one on the way; None = this is the first


cdef class Decision:
    cdef object balancer               # the LoadBalancer whose server was chosen
    cdef FailoverStep failover         # of the innermost Failover that sees the status of the answer; None = there is none
    cdef Py_ssize_t failovers          # number of steps, including the outer ones
    cdef Savepoint start               # the state from which another attempt starts
    cdef list cookies                  # Set-Cookie values for the answer, outermost service first; None = none
    cdef list drawn                    # (Mirroring, its Mirrors that are due) of this request; None = none
    cdef list mirrors                  # Mirrors that get a copy of the request; None = none
    cdef list mirrored_behind          # for each of these: the number of `gates` that the request passes before it is copied
    cdef Py_ssize_t copied             # number of mirrors that were handled
    cdef list gates                    # Guarded services passed, outermost first: their middlewares run next; None = none
    cdef list failed                   # Members, and LoadBalancers, that could not be reached and are not tried again; None = none
    cdef list tried                    # the LoadBalancer of each server tried in vain since the last fallback; None = none
    cdef int most_tries                # most servers of one LoadBalancer that are tried in vain; a route may set it
    cdef bint further                  # for a further attempt, because one has failed or is slow: see `Picker.pick`
    cdef bint spent                    # MOST_IN_ALL is reached: only servers of a fallback are tried
    cdef list fallen                   # Failovers of which only the fallback is asked from now on; None = none
    cdef list path                     # (service, index of its member; -1 = none) of each level; None = not recorded
    cdef bint on_trial                 # a server on trial was passed over because it has another request
    cdef object queue                  # the WaitQueue to enter, because all servers that may serve are full; None = none
    cdef object session_server         # the Server of the session, if that is the full one; None = any server will do
    cdef uint64_t since_ns             # monotonic time since which the request waits; 0 = it is new
    cdef bint slot_taken               # a slot or trial of the chosen server was taken, for an attempt that has not begun yet
    cdef bytes refusal                 # body of the 503 when no server may be chosen

    cdef int pass_gate(self, object service) except -1
    cdef int mirror(self, object mirror) except -1
    cdef int use_fallback(self, object failover) except -1
    cdef int exclude(self, object member) except -1
    cdef int may_fail_over(self, object service) except -1
    cdef int fall_back(self, FailoverStep step) except -1
    cdef int begin_again(self, object server) except -1
    cdef int choose_anew(self) except -1
    cdef int forget_choice(self) except -1
    cdef int go_back(self, Savepoint before) except -1
    cdef Savepoint savepoint(self) noexcept
    cdef void clear(self) noexcept
    cdef void clear_rest(self) noexcept
