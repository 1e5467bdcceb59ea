"""`next_attempt` for tests."""

from lbcore.proxy.attempt cimport (
    NEXT_FALLBACK, NEXT_NONE, NEXT_OTHER, NEXT_RETRY, NEXT_SAME, OUTCOME_BAD, OUTCOME_STALE, OUTCOME_UNREACHED, Attempt, next_attempt,
)
from lbcore.middleware.base cimport Tries
from lbcore.routing.decision cimport Decision
from lbcore.routing.failover cimport Failover

OUTCOMES = {"stale": OUTCOME_STALE, "unreached": OUTCOME_UNREACHED, "bad": OUTCOME_BAD}
NEXT = {NEXT_NONE: "none", NEXT_SAME: "same", NEXT_OTHER: "other", NEXT_RETRY: "retry", NEXT_FALLBACK: "fallback"}


def follows(str outcome, int status, bint repeatable, bint again=False, failovers=(), Tries tries=None, int made=1) -> str:
    """What follows an attempt of a request that came by these Failovers, the outermost first."""
    cdef Attempt attempt = Attempt()
    cdef Decision decision = Decision()
    attempt.clear()
    attempt.again = again
    for failover in failovers:
        decision.may_fail_over(<Failover?>failover)
    return NEXT[next_attempt(attempt, OUTCOMES[outcome], status, repeatable, decision, tries, made)]
