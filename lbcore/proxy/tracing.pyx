"""The spans of an exchange: one of the entry point, one of each attempt, and, if details are wanted, of each part of the way. No I/O.

They have Traefik's names and follow each other as Traefik's do: that of the method, Router, the middlewares of the router and of services,
then for each attempt Service and ReverseProxy. All but the last one end with the exchange.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

from lbcore.http.span cimport Span, span_of
from lbcore.observability.observer cimport method_index
from lbcore.observability.protobuf cimport (
    KEY_ROOM, KIND_CLIENT, KIND_SERVER, SPAN_ATTRIBUTE, SPAN_END, SPAN_ID, SPAN_KIND, SPAN_NAME, SPAN_OF_SCOPE, SPAN_PARENT_ID,
    SPAN_START, SPAN_TRACE_ID, SPAN_TRACE_STATE, begin_message, end_message, put_fixed64, put_number, put_raw, put_utf8, put_varint,
)
from lbcore.observability.trace cimport Step, Trace
from lbcore.observability.tracer cimport Tracer
from lbcore.observability.tracer import described
from lbcore.proxy.attempt cimport Attempt
from lbcore.proxy.exchange cimport Exchange
from lbcore.routing.guarded cimport Guarded
from lbcore.routing.route cimport Route
from lbcore.selection.clock cimport monotonic_ns
from lbcore.state.layout cimport ERROR_TIMEOUT

cdef enum:
    SPAN_ROOM = 192            # most bytes of a span without name and attributes, but for its status


cdef tuple encoded(tuple spans):
    """The texts of spans that have one; None for the others."""
    return tuple([None if each is None else described(each[0], each[1]) for each in spans])


cdef int begin_trace(Exchange exchange, bint detailed) except -1:
    """A request with a route, or without one, is traced."""
    exchange.trace = (<Tracer>exchange.entry_point.tracer).begin(
        exchange.request, &exchange.forward, exchange.entry_point.trace_text, detailed)
    return 0


cdef int add(Exchange exchange, tuple texts, Py_ssize_t index) except -1:
    if index < len(texts) and texts[index] is not None:
        (<Tracer>exchange.entry_point.tracer).add_step(exchange.trace, exchange.request, <bytes>texts[index])
    return 0


cdef int enter_router(Exchange exchange, Route route) except -1:
    """The request has come to a router, whose traces are detailed."""
    if route.span_texts is None:
        route.span_texts = encoded(route.spans)
    return add(exchange, route.span_texts, 0)


cdef int enter_middleware(Exchange exchange, Route route, Py_ssize_t step) except -1:
    """The request comes to a middleware of a router that it has entered."""
    return add(exchange, route.span_texts, 1 + step - (len(route.outer.middlewares) if route.outer is not None else 0))


cdef int enter_gate(Exchange exchange, Guarded gate, Py_ssize_t step) except -1:
    """The request comes to a middleware of a service."""
    if exchange.trace == NULL or not exchange.trace.sampled or not exchange.trace.detailed:
        return 0
    if gate.span_texts is None:
        gate.span_texts = encoded(gate.spans)
    return add(exchange, gate.span_texts, step)


cdef int trace_attempt(Exchange exchange) except -1:
    """A server is about to be asked."""
    cdef Attempt attempt = exchange.attempt
    attempt.span_length = (<Tracer>exchange.entry_point.tracer).ask(
        exchange.trace, exchange.request, attempt.server.key, attempt.server.prefix, attempt.span_id, &attempt.span_text)
    return 0


cdef int trace_answer(Exchange exchange) except -1:
    """The head of a server's answer is there."""
    cdef Attempt attempt = exchange.attempt
    attempt.answer_length = (<Tracer>exchange.entry_point.tracer).answered(
        exchange.request, exchange.response, &attempt.answer_text)
    return 0


cdef inline char* put_head(char* out, const Trace* trace, const uint8_t* span_id, const uint8_t* parent_id, uint64_t begun_ns,
                           uint64_t ended_ns) noexcept nogil:
    """Identifiers and times of a span."""
    cdef uint32_t flags = 0x101        # sampled; the parent is of this process
    out = put_raw(out, SPAN_TRACE_ID, trace.trace_id, 16)
    out = put_raw(out, SPAN_ID, span_id, 8)
    if parent_id != NULL:
        out = put_raw(out, SPAN_PARENT_ID, parent_id, 8)
        if parent_id == &trace.parent_id[0]:
            flags = 0x301              # of another one
    if trace.state_length:
        out[0] = SPAN_TRACE_STATE
        out = put_varint(out + 1, trace.state_length)
        out = put_utf8(out, trace.state, trace.state_length)
    out = put_fixed64(out, SPAN_START, begun_ns)
    out = put_fixed64(out, SPAN_END, ended_ns)
    out[0] = <char>0x85
    out[1] = 1
    memcpy(out + 2, &flags, 4)
    return out + 6


cdef inline char* put_name(char* out, const char* name, Py_ssize_t length, int kind) noexcept nogil:
    out = put_raw(out, SPAN_NAME, name, length)
    out[0] = SPAN_KIND
    out[1] = <char>kind
    return out + 2


cdef inline char* put_error(char* out) noexcept nogil:
    """The status of a span: an error."""
    memcpy(out, b"\x7a\x02\x18\x02", 4)
    return out + 4


cdef inline char* put_outcome(char* out, int status, int least_error) noexcept nogil:
    """The status of an answer, and that of its span."""
    if status > 0:
        out = put_number(out, SPAN_ATTRIBUTE, b"http.response.status_code", 25, status)
    return put_error(out) if status >= least_error or status < 100 else out


cdef int status_of(Attempt attempt, int status) noexcept:
    """The status that an attempt has led to; `status`: of the exchange."""
    if attempt.origin_status:
        return attempt.origin_status
    if status == 499:
        return 499
    return 504 if attempt.error == ERROR_TIMEOUT else 502


cdef inline bint has_span(Attempt attempt, Attempt following) noexcept:
    """Whether an attempt was made. One over a connection that turned out to be dead is none of its own."""
    return attempt.server is not None and attempt.sent_ns and attempt.span_length and (following is None or not following.again)


cdef int end_trace(Exchange exchange, list attempts) except -1:
    """An exchange has ended: export its spans, if it is sampled.

    attempts  those before the last one; None: there were none.
    """
    cdef Trace* trace = exchange.trace
    cdef Tracer tracer = <Tracer>exchange.entry_point.tracer
    cdef Attempt attempt, following
    cdef list made = (attempts or []) + [exchange.attempt]
    cdef Step* step
    cdef const uint8_t* parent = NULL
    cdef const uint8_t* above
    cdef const char* captured = NULL
    cdef Span name
    cdef Py_ssize_t captured_length, room, span_room, i, n_spans = 1 + trace.n_steps, resent = 0
    cdef bytes service
    cdef bint refused
    cdef timespec now
    cdef uint64_t ended_ns, shift_ns, attempt_ended_ns
    cdef uint8_t[8] service_id
    cdef char* begin
    cdef char* span
    cdef char* out
    exchange.trace = NULL
    if not trace.sampled:
        return 0
    captured_length = tracer.answered(exchange.request, exchange.response, &captured)
    ended_ns = monotonic_ns()
    clock_gettime(CLOCK_REALTIME, &now)
    shift_ns = <uint64_t>now.tv_sec * 1000000000 + <uint64_t>now.tv_nsec - ended_ns
    span_room = SPAN_ROOM + trace.state_length
    name = exchange.request.head.method if method_index(exchange.request.head.method.ptr, exchange.request.head.method.len) \
        else span_of(b"HTTP", 4)
    room = span_room + KEY_ROOM + trace.length + captured_length
    step = trace.first
    while step != NULL:
        room += span_room + step.length
        step = step.next
    for i in range(len(made)):
        attempt = <Attempt>made[i]
        room += span_room + 2 * KEY_ROOM + attempt.span_length + attempt.answer_length
        if trace.detailed and attempt.balancer is not None:
            room += span_room + len(tracer.text_of(attempt.balancer.name, True))
    begin = out = tracer.lines.begin(room)
    if begin == NULL:
        tracer.lines.lose(n_spans + len(made) - 1)
        return 0
    span = out
    if trace.has_parent:
        parent = &trace.parent_id[0]
    out = put_head(begin_message(out, SPAN_OF_SCOPE), trace, &trace.span_id[0], parent,
                   trace.begun_ns + shift_ns, ended_ns + shift_ns)
    out = put_name(out, name.ptr, name.len, KIND_SERVER)
    memcpy(out, trace.attributes, trace.length)
    out += trace.length
    if captured_length:
        memcpy(out, captured, captured_length)
        out += captured_length
    out = put_outcome(out, exchange.status, 500)
    end_message(span, out)
    parent = &trace.span_id[0]
    refused = exchange.status >= 400 and exchange.attempt.server is None and exchange.error < 0     # by a middleware
    step = trace.first
    while step != NULL:
        span = out
        out = put_head(begin_message(out, SPAN_OF_SCOPE), trace, &step.span_id[0], parent, step.begun_ns + shift_ns, ended_ns + shift_ns)
        memcpy(out, step.text, step.length)
        out += step.length
        if refused and step.next == NULL:
            out = put_error(out)
        end_message(span, out)
        parent = &step.span_id[0]
        step = step.next
    for i in range(len(made)):
        attempt = <Attempt>made[i]
        following = <Attempt>made[i + 1] if i + 1 < len(made) else None
        if not has_span(attempt, following):
            continue
        attempt_ended_ns = attempt.ended_ns if attempt.ended_ns else ended_ns
        above = parent
        if trace.detailed:
            service = tracer.text_of(attempt.balancer.name, True)
            tracer.draw(&service_id[0])
            above = &service_id[0]
            span = out
            out = put_head(begin_message(out, SPAN_OF_SCOPE), trace, above, parent, attempt.sent_ns + shift_ns,
                           attempt_ended_ns + shift_ns)
            memcpy(out, <const char*>service, len(service))
            out += len(service)
            end_message(span, out)
            n_spans += 1
        span = out
        out = put_head(begin_message(out, SPAN_OF_SCOPE), trace, &attempt.span_id[0], above,
                       attempt.sent_ns + shift_ns,
                       (attempt.sent_ns + attempt.origin_ns if attempt.origin_ns else attempt_ended_ns) + shift_ns)
        out = put_name(out, b"ReverseProxy", 12, KIND_CLIENT)
        memcpy(out, attempt.span_text, attempt.span_length)
        out += attempt.span_length
        if attempt.answer_length:
            memcpy(out, attempt.answer_text, attempt.answer_length)
            out += attempt.answer_length
        if resent:
            out = put_number(out, SPAN_ATTRIBUTE, b"http.request.resend_count", 25, resent)
        resent += 1
        out = put_outcome(out, status_of(attempt, exchange.status), 400)
        end_message(span, out)
        n_spans += 1
    tracer.lines.commit(out, ended_ns, <uint32_t>n_spans)
    return 0
