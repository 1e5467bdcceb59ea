"""Requests that may be asked of a fallback, once the main service has failed. No I/O."""

from libc.stdint cimport int64_t

from lbcore.http.framing cimport BODY_NONE
from lbcore.proxy.copies cimport prepare_copies
from lbcore.proxy.exchange cimport Exchange
from lbcore.proxy.recording cimport Recording
from lbcore.routing.decision cimport Stage
from lbcore.routing.failover cimport Failover


cdef bint keep(Exchange exchange) except *:
    """Record the body from here on, if a fallback may want it, and prepare the copies for mirrors; what was done stays.

    False: the body is too large for that, which was answered.
    """
    cdef int64_t most = -1, limit
    cdef Stage stage = exchange.decision.failover
    if exchange.is_copy:        # has its body, and makes no copies of its own
        return True
    if stage is not None and exchange.recording is None and exchange.request.framing.body != BODY_NONE:
        while stage is not None:
            limit = (<Failover>stage.service).max_body
            if limit >= 0 and (most < 0 or limit < most):
                most = limit
            stage = stage.outer
        if 0 <= most < exchange.request.framing.length:
            exchange.too_large()
            return False
        exchange.recording = Recording(most)
    if exchange.decision.mirrors is not None and not exchange.request.framing.upgrade:
        prepare_copies(exchange)
    return True


cdef bint fail_over(Exchange exchange, int status) except *:
    """Ask the fallback instead, if the failover service at work does not want an answer of this status. Returns whether the
    request is taken care of."""
    cdef Failover failover = <Failover>exchange.decision.failover.service
    if not 200 <= status < 600 or not failover.bad[status]:
        return False
    if not keep(exchange):      # one that waited for a server and got none
        return True
    exchange.lose_server()
    exchange.response.clear()
    exchange.decision.fall_back(exchange.request)
    exchange.replayed = 0
    failover.fallback.stats.requests += 1
    exchange.service = failover.fallback.service
    if exchange.choose():
        exchange.record()
    else:
        exchange.no_server()
    return True
