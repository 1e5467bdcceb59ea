# What asks servers for an exchange.

from libc.stdint cimport uint64_t

from lbcore.http.request cimport Request
from lbcore.middleware.base cimport Pending, Tries
from lbcore.proxy.attempt cimport Attempt
from lbcore.routing.asker cimport Asker
from lbcore.routing.server cimport Server
from lbcore.routing.service cimport Service
from lbcore.proxy.request_way cimport RequestWay


cdef enum Phase:                       # of an exchange, on the way of its request
    PHASE_ROUTE = 0                    # passes the middlewares of its router
    PHASE_CHOOSE                       # a server is chosen
    PHASE_QUEUE                        # waits for one, since all are full
    PHASE_GATES                        # passes the middlewares of the services that it goes through
    PHASE_SERVER                       # was sent


cdef class Pause(Pending):
    pass


cdef class HedgeTimer(Pending):
    pass


cdef class Attempting(RequestWay):
    cdef int phase                     # Phase
    cdef Service service               # that chooses the server; None until the router's middlewares were passed
    cdef Asker asker                   # what it chooses by
    cdef list attempts                 # Attempts before it, the first one first; None = none
    cdef int retries                   # attempts after the first one, without those at fallbacks
    cdef int tried                     # attempts that `tries` counts
    cdef int refusals                  # times that a server has refused the request unseen
    cdef bint is_retry                 # the attempt that comes next is one of these
    cdef uint64_t tries_until_ns       # no other one begins later, by the dialer's clock; 0 = any time
    cdef HedgeTimer hedge_timer        # kept from one exchange to the next; None = none was needed so far

    cdef inline int set_asker(self) except -1:
        """Choose by the request before any gate has changed it."""
        cdef Request request = self.request
        if self.gates.entered:
            request = self.gates.behind(0, request)
        self.asker.request = request
        self.asker.address = request.head.client
        return 0

    cdef Server find_server(self)
    cdef bint choose(self) except *
    cdef int attempt_at(self, Server server) except -1
    cdef int keep_attempt(self) except -1
    cdef int release_slot(self) noexcept
    cdef int no_server(self) except -1
    cdef int line_up(self) except -1
    cdef int overloaded(self) except -1
    cdef int ask_server(self) except -1
    cdef int dispatch(self, bint again, bint anew) except -1
    cdef bint follow(self, int outcome, int status) except *
    cdef Tries tries_left(self)
    cdef bint retry(self, bint anew) except *
    cdef bint ask_later(self) except *
    cdef bint is_late(self) noexcept
    cdef bint begins_anew(self) noexcept
    cdef bint afford(self) noexcept
    cdef void not_made(self) noexcept
    cdef int stop_hedging(self) except -1
    cdef int hedge_is_due(self) except -1
    cdef bint may_hedge(self) noexcept
    cdef Server find_another(self)
    cdef int hedge(self) except -1
    cdef int set_aside(self) except -1
    cdef int take_up(self, Attempt attempt) except -1
    cdef int go_on_with_rival(self) except -1
    cdef int end_rivals(self, bint beaten) except -1
    cdef int ask_same(self, bint anew) except -1
    cdef bint ask_other(self) except *
    cdef int fall_back(self, int status) except -1
    cdef int ask_again(self, Service service) except -1
    cdef int prepare_again(self, Service service) except -1
    cdef void leave_server(self) noexcept
