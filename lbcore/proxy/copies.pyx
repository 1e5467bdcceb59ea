"""Copies of a request for mirrors: made when its head is here, sent when its body is. No I/O."""

from libc.stdint cimport int64_t

from lbcore.http.framing cimport BODY_NONE
from lbcore.http.request cimport Request
from lbcore.http.span cimport span_of
from lbcore.proxy.exchange cimport Exchange
from lbcore.proxy.recording cimport Recording
from lbcore.routing.mirroring cimport Mirror, MirrorPolicy


cdef int prepare_copies(Exchange exchange) except -1:
    """Copy the head for each mirror, before the server is asked: nothing of it may be left when it has answered."""
    cdef bint has_body = exchange.request.framing.body != BODY_NONE
    cdef Mirror mirror
    cdef MirrorPolicy policy
    cdef Request request
    cdef int64_t length = exchange.request.framing.length
    for item in exchange.decision.mirrors[exchange.decision.copied:]:
        mirror = <Mirror>item
        policy = mirror.policy
        if has_body and policy.with_body and 0 <= policy.max_body < length:
            mirror.child.stats.oversized += 1
            continue
        if not mirror.has_room(length if policy.with_body else 0):
            mirror.child.stats.shed += 1
            continue
        request = Request()
        request.copy(exchange.request)
        request.framing.expects_continue = False
        for name, value in policy.headers:
            request.set_header(span_of(<bytes>name, len(<bytes>name)), span_of(<bytes>name, len(<bytes>name)),
                               span_of(<bytes>value, len(<bytes>value)))
        if not has_body or not policy.with_body:
            request.drop_body()
            exchange.dialer.mirror(exchange, request, mirror, None)
            continue
        if exchange.copies is None:
            exchange.copies = []
        mirror.buffered += length
        exchange.copies.append((mirror, request, length))
    exchange.decision.copied = len(exchange.decision.mirrors)
    if exchange.copies is None:
        return 0
    if exchange.recording is None:
        exchange.recording = Recording(most_for(exchange.copies))
    elif exchange.decision.failover is None:
        exchange.recording.limit = most_for(exchange.copies)
    return send_copies(exchange) if exchange.recording.complete else 0


cdef int64_t most_for(list copies):
    """Bytes of a body that any of the copies may have."""
    cdef MirrorPolicy policy
    cdef int64_t most = 0
    for item in copies:
        policy = (<Mirror>item[0]).policy
        most = max(most, policy.max_buffered if policy.max_body < 0 else min(policy.max_body, policy.max_buffered))
    return most


cdef int send_copies(Exchange exchange) except -1:
    """The request is complete: the mirrors get it."""
    cdef Mirror mirror
    cdef list copies = exchange.copies
    exchange.copies = None
    for item in copies:
        mirror = <Mirror>item[0]
        mirror.buffered -= <int64_t>item[2]
        if 0 <= mirror.policy.max_body < exchange.recording.size:
            mirror.child.stats.oversized += 1
        elif not mirror.has_room(exchange.recording.size):
            mirror.child.stats.shed += 1
        else:
            mirror.buffered += exchange.recording.size
            exchange.dialer.mirror(exchange, <Request>item[1], mirror, exchange.recording)
    return 0


cdef void shed_copies(Exchange exchange, bint oversized) noexcept:
    """The request will not be complete, or not be kept: the mirrors do not get it."""
    cdef Mirror mirror
    for item in exchange.copies:
        mirror = <Mirror>item[0]
        mirror.buffered -= <int64_t>item[2]
        if oversized:
            mirror.child.stats.oversized += 1
        else:
            mirror.child.stats.shed += 1
    exchange.copies = None
