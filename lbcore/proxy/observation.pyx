"""What is told of an exchange that is over. No I/O."""

from lbcore.observability.record cimport NO_SLOT, Record
from lbcore.observability.series cimport PROTOCOL_HTTP, PROTOCOL_WEBSOCKET
from lbcore.proxy.exchange cimport Exchange
from lbcore.selection.clock cimport monotonic_ns


cdef int observe(Exchange exchange) except -1:
    """Tell whoever watches the entry point what became of an exchange."""
    cdef Record record
    cdef str router = None, service = None, server = None
    cdef bint internal = False
    record.router = record.service = NO_SLOT
    record.logged = exchange.entry_point.logged
    record.counted = exchange.entry_point.counted
    if exchange.route is not None:
        record.logged = exchange.route.logged
        record.counted = exchange.route.counted
        if not record.logged and not record.counted:
            return 0
        router = exchange.route.name
        record.router = exchange.route.slot
        internal = exchange.route.internal
    if exchange.balancer is not None and not internal:
        service = exchange.balancer.name
        record.service = exchange.balancer.slot
    if exchange.server is not None and not internal:
        server = exchange.server.key
    record.forward = &exchange.forward
    record.status = exchange.status
    record.origin_status = 0 if internal else exchange.origin_status
    record.retries = exchange.retried + exchange.redispatched
    record.protocol = PROTOCOL_WEBSOCKET if exchange.status == 101 else PROTOCOL_HTTP
    record.entry_point = exchange.entry_point.index
    record.ended_ns = monotonic_ns()
    record.duration_ns = record.ended_ns - exchange.started_ns
    record.origin_ns = 0 if internal else exchange.origin_ns
    record.request_bytes = exchange.request_bytes
    record.response_bytes = exchange.response_bytes
    record.origin_bytes = exchange.response_bytes if record.origin_status else 0
    return exchange.entry_point.observer.note(
        &record, exchange.request, exchange.response, exchange.entry_point.name, router, service, server)
