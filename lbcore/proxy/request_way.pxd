# The way of a request's body to the server.

from libc.stdint cimport int64_t

from lbcore.middleware.base cimport Tries
from lbcore.proxy.copies cimport Copy
from lbcore.proxy.gates cimport Gates
from lbcore.proxy.recording cimport Recording, RefusedBody, Replay
from lbcore.http.sink cimport Filter
from lbcore.routing.decision cimport Decision
from lbcore.proxy.exchange cimport Exchange


cdef enum BodySource:
    SOURCE_NONE                        # nowhere: some of it was sent, and nobody has kept that
    SOURCE_CLIENT                      # the client, which still has all of it; or there is no body
    SOURCE_REFUSED                     # `refused`, from which it goes on, behind the same filters
    SOURCE_RECORDING                   # `recording`, for `replay`
    SOURCE_FILTER                      # the last filter, which keeps all of it
    SOURCE_REWOUND                     # the client of a request of lbcore's own, which begins it anew
    SOURCE_REWOUND_AT_SERVICE          # the same, but filters of the service have seen it: their gates are passed anew, too


cdef class RequestWay(Exchange):
    cdef Decision decision
    cdef Gates gates
    cdef Filter request_filters        # the first of that chain, kept from one stream to the next; None = none
    cdef Filter request_tail           # the last one of it: what goes on to the stream
    cdef Recording recording           # the filter that keeps the request's body for others; None = none needs it. It stands
                                       # before the filters of the gates that a fallback does not go through
    cdef Py_ssize_t recorded_behind    # how many gates it stands behind
    cdef Replay replay                 # its owner for a fallback or another attempt; None = it is not kept for one
    cdef list copies                   # Copy, that wait for the end of the body; None = none
    cdef bint body_ended               # the client's body has come to its end
    cdef bint takes_body               # the body is to come when the exchange begins to wait
    cdef RefusedBody refused           # what a server was sent of the body, and did not look at; None = nothing
    cdef bint body_lost                # what had all of the body has left with the middlewares of a service
    cdef Tries tries                   # what the route prescribes for further attempts; None = nothing

    cdef int leave_filters(self, Py_ssize_t step) except -1
    cdef list listed_filters(self)
    cdef int link_filters(self, list filters) except -1
    cdef int add_recording(self) except -1
    cdef int place_recording(self) except -1
    cdef int drop_recording(self) except -1
    cdef bint start_recording(self) except *
    cdef bint repeats_answers(self) noexcept
    cdef bint is_at_hand(self) noexcept
    cdef int body_given(self) except -1
    cdef int await_answer(self) except -1
    cdef int64_t repeatable_bytes(self, int64_t most) noexcept
    cdef BodySource body_source(self) noexcept
    cdef bint is_to_record(self, BodySource source) noexcept
    cdef void lose_refused(self) noexcept
    cdef int send_refused(self) except -1
    cdef bint keeps_body(self) noexcept
    cdef Py_ssize_t gates_to_stay(self) noexcept
    cdef int leave_gates(self) except -1
    cdef int begin_anew(self) except -1
    cdef int no_body(self) except -1
    cdef int begin_body(self) except -1
    cdef int begin_replay(self, int64_t limit, int64_t length, bint required) except -1
    cdef int end_replay(self) except -1
    cdef bint makes_copies(self) noexcept
    cdef int make_copies(self) except -1
    cdef int send_copies(self) except -1
    cdef int send_copy(self, Copy copy, Recording body) except -1
    cdef void shed_copies(self) noexcept
    cdef int too_large(self) except -1

    cdef inline bint is_replayable(self) noexcept:
        """Whether all of the body that has come is kept for a fallback."""
        return self.replay is not None and not self.replay.overflowed
