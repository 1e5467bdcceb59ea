"""Requests that may be asked of a fallback, once the main service has failed. No I/O."""

from libc.stdint cimport int64_t

from lbcore.http.framing cimport BODY_NONE
from lbcore.proxy.copies cimport prepare_copies
from lbcore.proxy.exchange cimport ClientStream, Exchange
from lbcore.proxy.recording cimport Recording
from lbcore.routing.decision cimport Stage
from lbcore.routing.failover cimport Failover


cdef bint keep(Exchange exchange) except *:
    """Record the body from here on, if a fallback may want it, and prepare the copies for mirrors; what was done stays.

    False: the body is too large for that, which was answered.
    """
    cdef Recording recording = exchange.recording
    cdef Stage stage = exchange.decision.failover
    cdef int64_t most = most_for(stage)
    if exchange.is_copy:        # has its body, and makes no copies of its own
        return True
    if recording is not None and recording.size == 0 and not recording.complete:
        recording = exchange.recording = None      # for others than those who may want it now
    if stage is not None and exchange.request.framing.body != BODY_NONE:
        if 0 <= most < max(exchange.request.framing.length, 0 if recording is None else recording.size):
            exchange.lose_server()
            exchange.too_large()
            return False
        if recording is None:
            exchange.recording = Recording(most)
        else:
            recording.limit = most
    if exchange.copies is not None or (exchange.decision.mirrors is not None and not exchange.request.framing.upgrade):
        prepare_copies(exchange)
    return True


cdef int64_t most_for(Stage stage):
    """Bytes of a body that every failover service on the way can send again; -1 = any."""
    cdef int64_t most = -1, limit
    while stage is not None:
        limit = (<Failover>stage.service).max_body
        if limit >= 0 and (most < 0 or limit < most):
            most = limit
        stage = stage.outer
    return most


cdef bint fail_over(Exchange exchange, int status) except *:
    """Ask the fallback instead, if the failover service at work does not want an answer of this status. Returns whether the
    request is taken care of."""
    cdef Failover failover = <Failover>exchange.decision.failover.service
    cdef ClientStream client = exchange.client
    if not 200 <= status < 600 or not failover.bad[status]:
        return False
    if not keep(exchange):      # one that waited for a server and got none
        return True
    exchange.lose_server()
    try:
        ask_fallback(exchange, failover)
    except Exception as error:
        exchange.give_up(error, client)
    return True


cdef int ask_fallback(Exchange exchange, Failover failover) except -1:
    exchange.response.clear()
    exchange.decision.fall_back(exchange.request)
    exchange.replayed = 0
    exchange.error = -1
    exchange.client.rewind()
    failover.fallback.stats.requests += 1
    exchange.service = failover.fallback.service
    if exchange.choose():
        return exchange.record()
    return exchange.no_server()
