"""The record of a finished exchange for the observer. No I/O."""

from lbcore.http.head cimport ClientAddress
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_bytes, span_of
from lbcore.observability.record cimport NO_SLOT, Record
from lbcore.observability.series cimport PROTOCOL_HTTP, PROTOCOL_WEBSOCKET
from lbcore.proxy.attempt cimport Attempt
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.routing.route cimport Route


cdef int observe(Record* record, EntryPoint entry_point, Route route, Attempt attempt, Request request, Response response) except -1:
    """Pass the record of a finished exchange to the observer of the entry point.

    record   filled by the exchange: forward, status, retries, ended_ns, duration_ns, request_bytes, response_bytes, origin_bytes. The rest
             is set here.
    route    None when none matched.
    attempt  the last one.
    """
    cdef str router = None, service = None, server = None
    cdef bint internal = False
    record.router = record.service = NO_SLOT
    record.logged = entry_point.logged
    record.counted = entry_point.counted
    if route is not None:
        record.logged = route.logged
        record.counted = route.counted
        if not record.logged and not record.counted:
            return 0
        router = route.name
        record.router = route.slot
        internal = route.internal
    if attempt.balancer is not None and not internal:
        service = attempt.balancer.name
        record.service = attempt.balancer.slot
    if attempt.server is not None and not internal:
        server = attempt.server.key
    record.origin_status = 0 if internal else attempt.origin_status
    record.protocol = PROTOCOL_WEBSOCKET if record.status == 101 else PROTOCOL_HTTP
    record.entry_point = entry_point.index
    record.origin_ns = 0 if internal else attempt.origin_ns
    if not record.origin_status:
        record.origin_bytes = 0
    entry_point.observer.note(record, request, response, entry_point.name, router, service, server)
    if route is not None and route.outer is not None:
        while route.outer is not None:
            route = route.outer
            entry_point.observer.note_router(record, request, route.slot)
    return 0


cdef int show(const Record* record, EntryPoint entry_point, Route route, Attempt attempt, Request request) except -1:
    """Show a finished exchange to those who watch single ones, if the access log may have it: see `observability.tap`.

    record   filled by the exchange, as for `observe`.
    """
    cdef str router = None, service = None, server = None
    cdef bint logged = entry_point.logged, internal = False
    cdef const ClientAddress* client = request.head.client
    cdef Span forwarded = request.head.first_forwarded
    if route is not None:
        logged, internal, router = route.logged, route.internal, route.name
    if not logged:
        return 0
    if not internal and attempt.balancer is not None:
        service = attempt.balancer.name
        if attempt.server is not None:
            server = attempt.server.key
    wanted = entry_point.tap.wanted(record.status, router, service, server)
    if not wanted:
        return 0
    if forwarded.len == 0 and client != NULL:
        forwarded = span_of(client.text, client.text_len)
    entry_point.tap.put(
        wanted, record.ended_ns, record.status, entry_point.name, router, service, server, span_bytes(request.head.method),
        span_bytes(request.head.authority), span_bytes(request.head.first_path if request.head.path.ptr != NULL else request.head.target),
        span_bytes(request.head.query) if request.head.has_query else None, span_bytes(forwarded),
        (request.head.major_version, request.head.minor_version), request.head.encrypted, record.duration_ns, attempt.origin_ns,
        record.request_bytes, record.response_bytes, record.retries)
    return 0
