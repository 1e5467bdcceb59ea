"""Streams of one session over QUIC: queues of bytes, what has come for whom, and what the peer may cost.

The library that reads and writes frames calls back while it is at work. Its callbacks only note what has come, in the flow that
it concerns; when the library has returned, `flow_ready` looks after each of these. So no exchange is at work inside of the
library, and a request that was reset in the same breath was never begun.

A byte of a body is given back to the peer's windows when it was taken, not when it came: that is the back-pressure. What is put
towards the peer waits, and the one who puts it is stopped when that is much.
"""

from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint32_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove

from lbcore.http.known cimport H_OTHER
from lbcore.http.message cimport Message
from lbcore.http.span cimport Span, span_of
from lbcore.transport.reactor cimport Flushable

cdef enum:
    FIRST_BLOCK = 1024
    BLOCK_BYTES = 16384        # of a block of a BlockQueue at least, but for the first one of a flow
    CREDIT = 1000              # see `spend`
    CREDIT_PER_S = 100


cdef void queue_free(ByteQueue* queue) noexcept nogil:
    free(queue.base)
    queue.base = NULL
    queue.size = queue.start = queue.end = 0


cdef int queue_add(ByteQueue* queue, const char* data, Py_ssize_t length) noexcept nogil:
    """Append a copy. 0, or -1 without memory."""
    cdef Py_ssize_t held = queue.end - queue.start, size
    cdef char* moved
    if queue.size - queue.end < length:
        if queue.start and queue.size - held >= length:
            memmove(queue.base, queue.base + queue.start, held)
        else:
            size = queue.size * 2 if queue.size else FIRST_BLOCK
            while size - held < length:
                size *= 2
            moved = <char*>malloc(size)
            if moved == NULL:
                return -1
            if held:
                memcpy(moved, queue.base + queue.start, held)
            free(queue.base)
            queue.base = moved
            queue.size = size
        queue.start = 0
        queue.end = held
    memcpy(queue.base + queue.end, data, length)
    queue.end += length
    return 0


cdef void queue_take(ByteQueue* queue, Py_ssize_t length) noexcept nogil:
    """Forget the first bytes; the memory, too, when none are left."""
    queue.start += length
    if queue.start == queue.end:
        queue_free(queue)


cdef void blocks_free(BlockQueue* queue) noexcept nogil:
    """Free all blocks. The library may not refer to their bytes any more."""
    cdef Block* block = queue.first
    cdef Block* following
    while block != NULL:
        following = block.next
        free(block)
        block = following
    queue.first = queue.last = queue.given = NULL
    queue.given_end = queue.first_start = queue.waiting = queue.unacknowledged = 0


cdef int blocks_add(BlockQueue* queue, const char* data, Py_ssize_t length) noexcept nogil:
    """Append a copy. 0, or -1 without memory, and then nothing was appended."""
    cdef Block* block = queue.last
    cdef Block* made = NULL
    cdef Py_ssize_t room = 0 if block == NULL else block.size - block.end
    cdef Py_ssize_t part = min(room, length), size
    if part < length:
        size = max(length - part, <Py_ssize_t>(BLOCK_BYTES if block != NULL else FIRST_BLOCK))
        made = <Block*>malloc(sizeof(Block) + size)
        if made == NULL:
            return -1
        made.next = NULL
        made.size = size
        made.end = length - part
        memcpy(made.data, data + part, length - part)
    if part:
        memcpy(block.data + block.end, data, part)
        block.end += part
    if made != NULL:
        if block == NULL:
            queue.first = made
        else:
            block.next = made
        queue.last = made
    queue.waiting += length
    return 0


cdef Span blocks_give(BlockQueue* queue, Py_ssize_t most) noexcept nogil:
    """The next bytes for the library, which stay where they are until `blocks_acknowledge`. Empty: there are none."""
    cdef Py_ssize_t length
    if queue.waiting == 0:
        return span_of(NULL, 0)
    if queue.given == NULL:
        queue.given = queue.first
        queue.given_end = 0
    while queue.given_end == queue.given.end:
        queue.given = queue.given.next
        queue.given_end = 0
    length = min(queue.given.end - queue.given_end, most)
    queue.given_end += length
    queue.waiting -= length
    queue.unacknowledged += length
    return span_of(queue.given.data + queue.given_end - length, length)


cdef void blocks_acknowledge(BlockQueue* queue, Py_ssize_t length) noexcept nogil:
    """The library refers to the first bytes no more. Free the blocks of which nothing is needed any more."""
    cdef Block* block
    cdef Py_ssize_t part
    queue.unacknowledged -= length
    while queue.first != NULL:
        block = queue.first
        part = min(block.end - queue.first_start, length)
        queue.first_start += part
        length -= part
        if queue.first_start < block.end:
            break
        if block == queue.given:
            queue.given = NULL
            queue.given_end = 0
        queue.first = block.next
        if queue.first == NULL:
            queue.last = NULL
        queue.first_start = 0
        free(block)


cdef int keep_trailers(Flow* flow, Message trailers) except -1:
    """Keep a copy of the trailers that go out behind the body."""
    cdef Py_ssize_t i
    cdef Message copy
    if trailers is None or not trailers.n_headers:
        return 0
    copy = Message()
    for i in range(trailers.n_headers):
        if trailers.kinds[i] == H_OTHER:
            copy.append(copy.keep(trailers.headers[i].name), copy.keep(trailers.headers[i].value))
    if copy.n_headers:
        drop_trailers(flow)
        Py_INCREF(copy)
        flow.trailers = <void*>copy
    return 0


cdef void drop_trailers(Flow* flow) noexcept:
    cdef Message trailers
    if flow.trailers != NULL:
        trailers = <Message>flow.trailers
        flow.trailers = NULL
        Py_DECREF(trailers)


cdef class FlowSession(Flushable):
    """A session without its protocol: that implements what is below."""

    def __cinit__(self):
        self.credit = CREDIT

    def __dealloc__(self):
        free(self.list.fields)

    cdef void mark(self, Flow* flow, uint8_t events) noexcept:
        """Have `flow_ready` called for it."""
        if flow.events == 0:
            flow.next_ready = NULL
            if self.first_ready == NULL:
                self.first_ready = flow
            else:
                self.last_ready.next_ready = flow
            self.last_ready = flow
        flow.events |= events

    cdef void unmark(self, Flow* flow) noexcept:
        """Take it out of the list: it is about to go. O(length of the list), usually nothing."""
        cdef Flow* before = NULL
        cdef Flow* at = self.first_ready
        if flow.events == 0:
            return
        flow.events = 0
        while at != NULL and at != flow:
            before = at
            at = at.next_ready
        if at == NULL:
            return
        if before == NULL:
            self.first_ready = flow.next_ready
        else:
            before.next_ready = flow.next_ready
        if self.last_ready == flow:
            self.last_ready = before

    cdef int serve_ready(self) except -1:
        """Look after the flows that something has come for. The owner may free the session meanwhile."""
        cdef Flow* flow
        cdef uint8_t events
        while self.first_ready != NULL:
            flow = self.first_ready
            self.first_ready = flow.next_ready
            events = flow.events
            flow.events = 0
            self.flow_ready(flow, events)
        return 0

    cdef void spend(self, int cost) noexcept:
        """Count a frame of the peer that costs us and brings nothing: acknowledgements, priorities, windows, resets, empty data.
        Some are in order; without any end they are an attack. Answers, and frames of ours, give credit."""
        cdef int64_t now_ms = self.reactor.now_ms
        if now_ms > self.credited_ms:
            self.credit = min(<int64_t>CREDIT, self.credit + (now_ms - self.credited_ms) * CREDIT_PER_S // 1000)
            self.credited_ms = now_ms
        self.credit -= cost
        if self.credit < 0 and not self.abused:
            self.abused = True
            self.send_away()

    # Of the protocols

    cdef int put(self, Flow* flow, Span data) except -1:
        """Put bytes of a body. `flow.full` says whether that is enough for now."""
        return 0

    cdef int put_end(self, Flow* flow, Message trailers) except -1:
        """The body is complete. The trailers are copied."""
        return 0

    cdef int consume(self, Flow* flow, Py_ssize_t count) except -1:
        """Bytes at the front of `input` were taken: the peer may send as many more, and is told so."""
        return 0

    cdef int discard(self, Flow* flow) except -1:
        """Nobody wants what has come or still comes of the body: it does not hold up other streams."""
        return 0

    cdef int reset(self, Flow* flow, uint32_t code) except -1:
        """End the stream at once, because of a FlowError."""
        return 0

    cdef void share(self, Flow* flow) noexcept:
        """Have a stream take turns with others; else it would be sent whole before those that began after it."""
        pass

    cdef int respond(self, Flow* flow, bint has_body) except -1:
        """Send the head that is in `list`; the body, if there is one, is put then. The fields are copied."""
        return 0

    cdef int inform(self, Flow* flow, int status) except -1:
        """Send an interim head: the one that is in `list`, or one of that status alone."""
        return 0

    cdef int end_both(self, Flow* flow) except -1:
        """The peer is to send no more on this stream, once all that was put has gone out."""
        return 0

    cdef void forget(self, Flow* flow) noexcept:
        """The stream is over: give back what its flow holds, to the windows, too. No callback may come for it any more."""
        pass

    # Of the sides

    cdef int flow_ready(self, Flow* flow, uint8_t events) except -1:
        """Look after a flow: see FlowEvent."""
        return 0

    cdef void send_away(self) noexcept:
        """End the session, because the peer costs more than it brings."""
        pass
