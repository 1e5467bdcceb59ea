"""One attempt to have a request answered by a server, and what may follow a failed one. No I/O.

All reasons for another attempt in the place of one: an idle connection that was dead, a server that could not be reached, an answer that
the route or a Failover does not accept. The exchange does what follows.
"""

cimport cython

from lbcore.middleware.base cimport Tries
from lbcore.routing.decision cimport Decision
from lbcore.routing.failover cimport step_to_leave


@cython.final
cdef class Attempt:
    """Owned by its exchange. The last one is used again for the next exchange, those before it are kept until the end."""

    cdef void clear(self) noexcept:
        self.server = None
        self.balancer = None
        self.again = self.counted = False
        self.sent_ns = self.origin_ns = self.ended_ns = 0
        self.asked = NULL
        self.is_hedge = self.abandoned = False
        self.origin_status = 0
        self.error = -1


cdef int next_attempt(Attempt attempt, int outcome, int status, bint repeatable, Decision decision, Tries tries, int made) noexcept:
    """What follows an attempt that failed. Returns a Next.

    status      that the client would get, by which `tries` and Failovers decide.
    repeatable  whether the whole request can be sent once more: nothing of its body is lost.
    tries       what the route prescribes; None: nothing.
    made        attempts at the service so far that `tries` counts.

    Bounded: a server is asked again once, and how many others are tried is bounded by the decision (`most_tries`,
    MOST_IN_ALL) and by `tries`; each Failover is left for good by its fallback.
    """
    if outcome == OUTCOME_STALE and repeatable and not attempt.again:
        return NEXT_SAME
    if outcome == OUTCOME_REFUSED and repeatable and not attempt.again:
        return NEXT_SAME
    if outcome == OUTCOME_UNREACHED and (tries is None or (tries.goes_on and made < tries.most)):
        return NEXT_OTHER
    if tries is not None and repeatable and made < tries.most and tries.drops(status, made):
        return NEXT_RETRY
    if repeatable and step_to_leave(decision.failover, status) is not None:
        return NEXT_FALLBACK
    return NEXT_NONE
