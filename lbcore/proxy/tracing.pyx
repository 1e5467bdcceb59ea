"""The spans of an exchange: one of the entry point, one of each attempt and of each question of a middleware, and, if details are wanted, of
each part of the way. No I/O.

They have Traefik's names and follow each other as Traefik's do: that of the method, Router, the middlewares of the router and of services,
then for each attempt Service and ReverseProxy; AuthRequest is one of the middleware that asks. All but these last ones end with the exchange.
What they tell is put together here, as a record, and formatted elsewhere: see `span_record`.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy, memset

from lbcore.http.span cimport Span, span_of
from lbcore.http.request cimport Request
from lbcore.middleware.base cimport Reply
from lbcore.observability.span_encoder import described
from lbcore.observability.span_record cimport (
    ASKED_AGENT, ASKED_ATTEMPT, ASKED_METHOD, ASKED_QUESTION, ASKED_SERVICE, ASKED_TEXTS, LONGEST_TEXT, RECORD_ALIGN, REQUEST_TEXTS, SAME,
    TEXT_METHOD, AskedRecord, RequestRecord, StepRecord,
)
from lbcore.observability.trace cimport Asked, Question, Step, Trace
from lbcore.observability.tracer cimport Tracer
from lbcore.proxy.attempt cimport Attempt
from lbcore.proxy.exchange cimport Exchange
from lbcore.routing.guarded cimport Guarded
from lbcore.routing.route cimport Route
from lbcore.selection.clock cimport monotonic_ns
from lbcore.state.layout cimport ERROR_TIMEOUT

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL


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
    """A server is about to be asked, by a request that is sampled."""
    cdef Attempt attempt = exchange.attempt
    attempt.asked = (<Tracer>exchange.entry_point.tracer).ask(
        exchange.trace, exchange.request, attempt.server.key, attempt.server.prefix)
    return 0


cdef int name_attempt(Exchange exchange) except -1:
    """Have the headers for servers name the present attempt again: another one was made beside it, and it may not be sent so far."""
    return (<Tracer>exchange.entry_point.tracer).name(exchange.trace, exchange.attempt.asked)


cdef int trace_answer(Exchange exchange) except -1:
    """The head of a server's answer is there."""
    return (<Tracer>exchange.entry_point.tracer).answered(exchange.request, exchange.response, &exchange.attempt.asked.answered)


cdef int trace_question(Exchange exchange, Request question, str address) except -1:
    """A middleware is about to ask a server itself."""
    return (<Tracer>exchange.entry_point.tracer).ask_question(exchange.trace, exchange.request, question, address)


cdef int trace_reply(Exchange exchange, Reply reply) except -1:
    """The question of a middleware is answered, or there is no answer. An exchange has one that is open at a time, the latest one."""
    cdef Question* question
    if not exchange.trace.sampled:
        return 0
    question = exchange.trace.first_question
    if question == NULL or question.ended_ns:
        return 0
    question.ended_ns = monotonic_ns()
    if reply.response is None or reply.error >= 0:     # an error of lbcore's own is no answer of the server
        return 0
    question.status = reply.response.status
    return (<Tracer>exchange.entry_point.tracer).answered(exchange.request, reply.response, &question.asked.answered)


cdef int status_of(Attempt attempt, int status) noexcept:
    """The status that an attempt has led to; `status`: of the exchange."""
    if attempt.origin_status:
        return attempt.origin_status
    if status == 499 or attempt.abandoned:
        return 499
    return 504 if attempt.error == ERROR_TIMEOUT else 502


cdef inline bint has_span(Attempt attempt, Attempt following) noexcept:
    """Whether an attempt was made. One over a connection that turned out to be dead is none of its own."""
    return attempt.server is not None and attempt.sent_ns and attempt.asked != NULL and (following is None or not following.again)


cdef inline char* aligned(char* out) noexcept nogil:
    """Where the next record begins."""
    return <char*>((<uintptr_t>out + RECORD_ALIGN - 1) & ~<uintptr_t>(RECORD_ALIGN - 1))


cdef inline char* put_span(char* out, Span text) noexcept nogil:
    if text.len:
        memcpy(out, text.ptr, text.len)
    return out + text.len


cdef inline Py_ssize_t room_of(const Span* texts, int count) noexcept nogil:
    """Most bytes of texts."""
    cdef Py_ssize_t room = RECORD_ALIGN
    cdef int i
    for i in range(count):
        room += texts[i].len if texts[i].len < LONGEST_TEXT else LONGEST_TEXT
    return room


cdef inline char* put_texts(char* out, const Span* texts, uint16_t* lengths, int count) noexcept nogil:
    cdef Py_ssize_t length
    cdef int i
    for i in range(count):
        length = texts[i].len
        if length > LONGEST_TEXT:
            length = LONGEST_TEXT
        lengths[i] = <uint16_t>length
        if length:
            memcpy(out, texts[i].ptr, length)
            out += length
    return out


cdef inline char* put_asked_texts(char* out, const Trace* trace, Asked* asked, uint16_t* lengths) noexcept nogil:
    """Those of a request to a server, but for what is as in the client's."""
    cdef Span* mine
    cdef const Span* first
    cdef int i
    out = put_texts(out, asked.texts, lengths, ASKED_METHOD)
    for i in range(ASKED_METHOD, ASKED_AGENT + 1):
        mine = &asked.texts[i]
        first = &trace.texts[TEXT_METHOD + i - ASKED_METHOD]
        if mine.ptr == first.ptr and mine.len == first.len:
            lengths[i] = SAME
        else:
            out = put_texts(out, mine, lengths + i, 1)
    return put_texts(out, asked.texts + ASKED_AGENT + 1, lengths + ASKED_AGENT + 1, ASKED_TEXTS - ASKED_AGENT - 1)


cdef inline char* put_asked(char* out, const Trace* trace, Asked* asked, AskedRecord* record) noexcept nogil:
    """The rest of a record that is filled but for what the request has said."""
    memcpy(record.span_id, asked.span_id, 8)
    record.captured = <uint32_t>asked.captured.len
    record.answered = <uint32_t>asked.answered.len
    out = put_asked_texts(out + sizeof(AskedRecord), trace, asked, record.lengths)
    return aligned(put_span(put_span(out, asked.captured), asked.answered))


cdef inline Py_ssize_t room_of_asked(const Asked* asked) noexcept nogil:
    return <Py_ssize_t>sizeof(AskedRecord) + room_of(asked.texts, ASKED_TEXTS) + asked.captured.len + asked.answered.len


cdef inline Attempt attempt_at(Exchange exchange, list before, Py_ssize_t index):
    """The attempts of an exchange by number: those before the last one, and that one; then None."""
    cdef Py_ssize_t count = len(before) if before is not None else 0
    if index < count:
        return <Attempt>before[index]
    return exchange.attempt if index == count else None


cdef Py_ssize_t room_of_trace(Exchange exchange, list attempts, Span answered, int* n_spans) except -1:
    """Room for the record of an exchange, and the number of its spans. Names the services of its attempts, if they have spans."""
    cdef Trace* trace = exchange.trace
    cdef Attempt attempt = attempt_at(exchange, attempts, 0), following
    cdef Step* step = trace.first
    cdef Question* question = trace.first_question
    cdef const char* name
    cdef Py_ssize_t room, length, i = 0
    n_spans[0] = 1 + trace.n_steps + trace.n_questions
    room = <Py_ssize_t>sizeof(RequestRecord) + room_of(trace.texts, REQUEST_TEXTS) + trace.captured.len + answered.len
    while step != NULL:
        room += <Py_ssize_t>sizeof(StepRecord) + step.length + RECORD_ALIGN
        step = step.next
    while question != NULL:
        room += room_of_asked(&question.asked)
        question = question.next
    while attempt is not None:
        i += 1
        following = attempt_at(exchange, attempts, i)
        if has_span(attempt, following):
            if trace.detailed:
                name = PyUnicode_AsUTF8AndSize(attempt.balancer.name, &length)
                attempt.asked.texts[ASKED_SERVICE] = span_of(name, length)
                n_spans[0] += 1
            room += room_of_asked(attempt.asked)
            n_spans[0] += 1
        attempt = following
    return room


cdef char* put_request(RequestRecord* record, Exchange exchange, Span answered, uint64_t ended_ns) except NULL:
    """Write what is known of the request and its answer. Returns the place behind it, as the functions below do."""
    cdef Trace* trace = exchange.trace
    cdef char* out
    record.captured = <uint32_t>trace.captured.len
    record.answered = <uint32_t>answered.len
    record.n_steps = <uint16_t>trace.n_steps
    record.n_asked = <uint16_t>trace.n_questions
    memcpy(record.trace_id, trace.trace_id, 16)
    memcpy(record.span_id, trace.span_id, 8)
    if trace.has_parent:
        memcpy(record.parent_id, trace.parent_id, 8)
    else:
        memset(record.parent_id, 0, 8)
    record.begun_ns = trace.begun_ns
    record.ended_ns = ended_ns
    record.body_bytes = trace.body_bytes
    record.status = <uint16_t>exchange.status
    record.has_peer = exchange.request.head.client != NULL
    record.port = exchange.request.head.client.port if record.has_peer else 0
    record.major_version = <uint8_t>exchange.request.head.major_version
    record.minor_version = <uint8_t>exchange.request.head.minor_version
    record.refused = exchange.status >= 400 and exchange.attempt.server is None and exchange.error < 0
    out = put_texts(<char*>record + sizeof(RequestRecord), trace.texts, record.lengths, REQUEST_TEXTS)
    return aligned(put_span(put_span(out, trace.captured), answered))


cdef char* put_steps(char* out, const Trace* trace) noexcept:
    cdef Step* step = trace.first
    cdef StepRecord* record
    while step != NULL:
        record = <StepRecord*>out
        memcpy(record.span_id, step.span_id, 8)
        record.begun_ns = step.begun_ns
        record.length = <uint32_t>step.length
        out = aligned(put_span(out + sizeof(StepRecord), span_of(step.text, step.length)))
        step = step.next
    return out


cdef char* put_questions(char* out, Trace* trace, uint64_t ended_ns) noexcept:
    cdef Question* question = trace.first_question
    cdef AskedRecord* record
    while question != NULL:
        record = <AskedRecord*>out
        memcpy(record.parent_id, question.parent_id, 8)
        record.begun_ns = question.begun_ns
        record.head_ns = record.ended_ns = question.ended_ns if question.ended_ns else ended_ns
        record.status = <uint16_t>question.status
        record.resent = 0
        record.kind = ASKED_QUESTION
        out = put_asked(out, trace, &question.asked, record)
        question = question.next
    return out


cdef char* put_attempts(char* out, RequestRecord* of_request, Exchange exchange, list attempts, uint64_t ended_ns) except NULL:
    """Write the attempts that have spans, below the last step, and count them in the record of the request."""
    cdef Trace* trace = exchange.trace
    cdef Tracer tracer = <Tracer>exchange.entry_point.tracer
    cdef Attempt attempt = attempt_at(exchange, attempts, 0), following
    cdef Step* step = trace.first
    cdef const uint8_t* parent = &trace.span_id[0]
    cdef AskedRecord* record
    cdef Py_ssize_t i = 0
    cdef uint16_t resent = 0, vain = 0         # attempts so far, and those of them that were begun beside the last one
    while step != NULL:
        parent = &step.span_id[0]
        step = step.next
    while attempt is not None:
        i += 1
        following = attempt_at(exchange, attempts, i)
        if has_span(attempt, following):
            of_request.n_asked += 1
            record = <AskedRecord*>out
            memcpy(record.parent_id, parent, 8)
            if trace.detailed:
                tracer.draw(record.service_id)
            record.begun_ns = attempt.sent_ns
            record.ended_ns = attempt.ended_ns if attempt.ended_ns else ended_ns
            record.head_ns = attempt.sent_ns + attempt.origin_ns if attempt.origin_ns else record.ended_ns
            record.status = <uint16_t>status_of(attempt, exchange.status)
            if attempt is exchange.attempt:
                record.resent = resent - vain
            else:
                vain += exchange.attempt.sent_ns and exchange.attempt.sent_ns < attempt.sent_ns
                record.resent = resent + (vain > 0)
            record.kind = ASKED_ATTEMPT
            out = put_asked(out, trace, attempt.asked, record)
            resent += 1
        attempt = following
    return out


cdef int end_trace(Exchange exchange, list attempts) except -1:
    """An exchange that is sampled has ended: export its spans.

    attempts  those before the last one; None: there were none.
    """
    cdef Tracer tracer = <Tracer>exchange.entry_point.tracer
    cdef Span answered = span_of(NULL, 0)
    cdef RequestRecord* record
    cdef uint64_t ended_ns
    cdef int n_spans
    cdef char* out
    tracer.answered(exchange.request, exchange.response, &answered)
    ended_ns = monotonic_ns()
    out = tracer.lines.begin(room_of_trace(exchange, attempts, answered, &n_spans))
    if out == NULL:
        tracer.lines.lose(n_spans - 1)
        return 0
    record = <RequestRecord*>out
    out = put_request(record, exchange, answered, ended_ns)
    out = put_steps(out, exchange.trace)
    out = put_questions(out, exchange.trace, ended_ns)
    out = put_attempts(out, record, exchange, attempts, ended_ns)
    record.length = <uint32_t>(out - <char*>record)
    tracer.lines.commit(out, ended_ns, <uint32_t>n_spans)
    return 0
