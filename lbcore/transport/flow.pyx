"""The streams of one session of HTTP/2 or HTTP/3: queues of bytes, events, and what the peer may cost.

The library that reads and writes frames calls back while it works. Its callbacks only record events, in the flow concerned; after the
library has returned, `flow_ready` is called for each of these flows. So exchanges never run inside the library, and a request that
the same input resets is never begun.

The windows of the peer grow when bytes of a body are consumed, not when they arrive: that is the back-pressure. Bytes that were put
wait in the `output` of their flow, whose source is stopped while there are many.
"""

from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy, memmove

from lbcore.http.field_list cimport FieldList
from lbcore.http.fields cimport pack_trailers
from lbcore.http.heap cimport heap_give, heap_take
from lbcore.http.message cimport Message
from lbcore.http.span cimport Span, span_of
from lbcore.transport.gathering cimport GATHERS
from lbcore.transport.reactor cimport Flushable

cdef enum:
    FIRST_BLOCK = 1024         # bytes of a queue's first block
    BLOCK_BYTES = 16384        # least bytes of a further block of a BlockQueue
    CREDIT_PER_S = 100

cdef FieldList fields          # for all sessions, because the libraries copy what is in it before they return


cdef void queue_free(ByteQueue* queue) noexcept nogil:
    heap_give(queue.base)
    queue.base = NULL
    queue.size = queue.start = queue.end = 0


cdef int queue_add(ByteQueue* queue, const char* data, Py_ssize_t length) noexcept nogil:
    """Append a copy of the bytes. Returns 0, or -1 if there is no memory."""
    cdef Py_ssize_t held = queue.end - queue.start, size
    cdef char* moved
    if queue.size - queue.end < length:
        if queue.start and queue.size - held >= length:
            memmove(queue.base, queue.base + queue.start, held)
        else:
            size = queue.size * 2 if queue.size else FIRST_BLOCK
            while size - held < length:
                size *= 2
            moved = <char*>heap_take(size)
            if moved == NULL:
                return -1
            if held:
                memcpy(moved, queue.base + queue.start, held)
            heap_give(queue.base)
            queue.base = moved
            queue.size = size
        queue.start = 0
        queue.end = held
    memcpy(queue.base + queue.end, data, length)
    queue.end += length
    return 0


cdef void queue_take(ByteQueue* queue, Py_ssize_t length) noexcept nogil:
    """Drop the first bytes; free the memory when none are left."""
    queue.start += length
    if queue.start == queue.end:
        queue_free(queue)


cdef void blocks_free(BlockQueue* queue) noexcept nogil:
    """Free all blocks. The library must not refer to their bytes any more."""
    cdef Block* block = queue.first
    cdef Block* following
    while block != NULL:
        following = block.next
        heap_give(block)
        block = following
    queue.first = queue.last = queue.given = NULL
    queue.given_end = queue.first_start = queue.waiting = queue.unacknowledged = 0


cdef int blocks_add(BlockQueue* queue, const char* data, Py_ssize_t length) noexcept nogil:
    """Append a copy of the bytes. Returns 0, or -1 if there is no memory; then nothing was appended."""
    cdef Block* block = queue.last
    cdef Block* made = NULL
    cdef Py_ssize_t room = 0 if block == NULL else block.size - block.end
    cdef Py_ssize_t part = min(room, length), size
    if part < length:
        size = max(length - part, <Py_ssize_t>(BLOCK_BYTES if block != NULL else FIRST_BLOCK))
        made = <Block*>heap_take(sizeof(Block) + size)
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


cdef inline void drop_first(BlockQueue* queue) noexcept nogil:
    cdef Block* block = queue.first
    queue.first = block.next
    if queue.first == NULL:
        queue.last = NULL
    queue.first_start = 0
    heap_give(block)


cdef void blocks_move(BlockQueue* queue, char* into, Py_ssize_t length) noexcept nogil:
    """Copy the first bytes into `into`, and drop them. For a queue of which nothing was given."""
    cdef Py_ssize_t part
    cdef Block* block
    queue.waiting -= length
    while length:
        block = queue.first
        part = min(block.end - queue.first_start, length)
        memcpy(into, block.data + queue.first_start, part)
        into += part
        length -= part
        queue.first_start += part
        if queue.first_start == block.end:
            drop_first(queue)


cdef void blocks_copy(BlockQueue* queue, char* into, Py_ssize_t length) noexcept nogil:
    """Copy the next bytes into `into`, and keep them as given."""
    cdef Span piece
    while length:
        piece = blocks_give(queue, length)
        memcpy(into, piece.ptr, piece.len)
        into += piece.len
        length -= piece.len


cdef void blocks_forget(BlockQueue* queue) noexcept nogil:
    """Drop all bytes that were given."""
    blocks_acknowledge(queue, queue.unacknowledged)
    queue.given = NULL
    queue.given_end = 0


cdef bytes blocks_all(BlockQueue* queue):
    """A copy of all bytes, with those that were given."""
    cdef list pieces = []
    cdef Block* block = queue.first
    cdef Py_ssize_t start = queue.first_start
    while block != NULL:
        pieces.append(block.data[start:block.end])
        block = block.next
        start = 0
    return b"".join(pieces)


cdef Span blocks_give(BlockQueue* queue, Py_ssize_t most) noexcept nogil:
    """The next bytes for the library, which stay in their place until `blocks_acknowledge`. Empty: there are none."""
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
    """Drop the first bytes, to which the library refers no more. Free the blocks that are dropped completely."""
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
        drop_first(queue)


cdef void drop_trailers(Flow* flow) noexcept nogil:
    heap_give(flow.trailers)
    flow.trailers = NULL


cdef class FlowSession(Flushable):
    """A session, whatever its protocol. Its opener sets `reactor`."""

    def __cinit__(self):
        self.list = &fields
        self.credit = CREDIT
        self.gathers = GATHERS

    cdef void mark(self, Flow* flow, uint8_t events) noexcept:
        """Have `flow_ready` called for a flow."""
        if flow.events == 0:
            flow.next_ready = NULL
            if self.first_ready == NULL:
                self.first_ready = flow
            else:
                self.last_ready.next_ready = flow
            self.last_ready = flow
        flow.events |= events

    cdef void unmark(self, Flow* flow) noexcept:
        """Take a flow out of the list of `mark`. O(length of the list), which is usually 0."""
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
        """Call `flow_ready` for all marked flows. The owner may free the session meanwhile."""
        cdef Flow* flow
        cdef uint8_t events
        while self.first_ready != NULL:
            flow = self.first_ready
            self.first_ready = flow.next_ready
            events = flow.events
            flow.events = 0
            self.flow_ready(flow, events)
        return 0

    cdef void link(self, Flow* flow) noexcept:
        """Add a flow to the open ones, whose owners the session keeps alive."""
        Py_INCREF(<object>flow.owner)
        flow.linked = True
        flow.newer = NULL
        flow.older = self.newest
        if self.newest != NULL:
            self.newest.newer = flow
        self.newest = flow
        self.open_flows += 1
        self.reactor.pauses.streams[self.asks] += 1
        if self.open_flows == 1:
            self.reactor.pauses.sessions += 1
            self.use_changed()

    cdef void unlink(self, Flow* flow) noexcept:
        """Take a flow out of the open ones. Its owner dies with this call unless the caller holds a reference."""
        if not flow.linked:
            return
        flow.linked = False
        if flow.newer != NULL:
            flow.newer.older = flow.older
        else:
            self.newest = flow.older
        if flow.older != NULL:
            flow.older.newer = flow.newer
        flow.newer = flow.older = NULL
        self.open_flows -= 1
        self.reactor.pauses.streams[self.asks] -= 1
        if self.open_flows == 0:
            self.reactor.pauses.sessions -= 1
            self.use_changed()
        Py_DECREF(<object>flow.owner)

    cdef void charge(self, int cost) noexcept:
        """Charge the peer for a frame that costs us and carries no payload: acknowledgements, priorities, windows, resets, empty data.
        A flood of them uses up the credit and ends the connection. Answers and frames of ours give credit."""
        cdef int64_t now_ms = self.reactor.now_ms
        if now_ms > self.credited_ms:
            self.credit = min(<int64_t>CREDIT, self.credit + (now_ms - self.credited_ms) * CREDIT_PER_S // 1000)
            self.credited_ms = now_ms
        self.credit -= cost
        if self.credit < 0 and not self.abused:
            self.abused = True
            self.end_abuse()

    cdef int check_by(self, int64_t until_ms) except -1:
        """Have the timer expire by that time, by the reactor's clock. The owner sets `check_ms` to 0 when it has."""
        if self.check_ms and self.check_ms <= until_ms:
            return 0
        self.check_ms = until_ms
        return self.set_timer(max(<int64_t>0, until_ms - self.reactor.now_ms))

    # Of one stream

    cdef int put_end(self, Flow* flow, Message trailers) except -1:
        """End the body. The trailers are copied."""
        if flow.closed:
            return 0
        if trailers is not None and trailers.n_headers:
            drop_trailers(flow)
            if pack_trailers(trailers, &flow.trailers) < 0:
                raise MemoryError
        flow.put_ended = True
        return self.resume(flow)

    cdef int discard(self, Flow* flow) except -1:
        """Drop the input of a flow, now and in future, so that it does not hold up other streams."""
        cdef Py_ssize_t held = queue_len(&flow.input)
        flow.discards = True
        return self.consume(flow, held) if held else 0

    cdef void end_keeping(self, Flow* flow) noexcept:
        """Drop what was kept of a flow's output: it will not be sent once more."""
        if flow.keeps:
            self.drop_kept(flow, flow.output.unacknowledged)

    cdef void drop_kept(self, Flow* flow, Py_ssize_t counted) noexcept:
        """`end_keeping` of a flow of whose kept bytes so many are in `kept`, and taken from the budget."""
        flow.keeps = False
        if counted:
            self.kept -= counted
            self.budget.give(counted)
        blocks_forget(&flow.output)
        if flow.eof:
            drop_trailers(flow)

    cdef void keep_sent(self, Flow* flow, Py_ssize_t length) noexcept:
        """Count bytes that were sent just now of a flow that `keeps`. Without room for them, nothing is kept of it any more."""
        cdef Py_ssize_t before = flow.output.unacknowledged - length
        if flow.output.unacknowledged > KEPT_BYTES:
            self.drop_kept(flow, before)
        elif self.kept + length > KEPT_IN_ALL:
            self.budget.row.bodies_shed += 1
            self.drop_kept(flow, before)
        elif self.budget.take(length):
            self.kept += length
        else:
            self.drop_kept(flow, before)

    # Implemented by the protocols. Nothing happens to a flow that is closed, or whose session is freed.

    cdef int put(self, Flow* flow, Span data) except -1:
        """Put bytes of a body. Sets `flow.full`, after which the source has to wait for FLOW_ROOM."""
        return 0

    cdef int resume(self, Flow* flow) except -1:
        """Have the library ask for output again."""
        return 0

    cdef int consume(self, Flow* flow, Py_ssize_t count) except -1:
        """Drop bytes at the front of `input`, and let the peer send as many more."""
        return 0

    cdef int reset(self, Flow* flow, int error) except -1:
        """End a stream at once, for a FlowError."""
        return 0

    cdef void make_incremental(self, Flow* flow) noexcept:
        """Have a stream take turns with others (RFC 9218); else all of it would be sent before streams that began later."""
        pass

    cdef int submit_response(self, Flow* flow, bint has_body) except -1:
        """Send the head that is in `list`; a body is put afterwards. The library copies the fields."""
        return 0

    cdef int submit_interim(self, Flow* flow, int status) except -1:
        """Send an interim head: one of that status without fields; 0 = the one that is in `list`."""
        return 0

    cdef int end_both(self, Flow* flow) except -1:
        """Have the peer stop sending on this stream (RFC 9113 section 8.1), after all that was put has been sent."""
        return 0

    cdef void release(self, Flow* flow) noexcept:
        """Free the memory of a flow whose stream has ended, and give its input back to the session's window. No callback comes for
        it afterwards."""
        pass

    cdef void end_abuse(self) noexcept:
        """End the session, because the credit is used up."""
        pass

    cdef int set_timer(self, int64_t delay_ms) except -1:
        """Have the owner of the session called after that time."""
        return 0

    cdef void use_changed(self) noexcept:
        """The first flow was opened, or the last one has ended."""
        pass

    # Implemented by the sides

    cdef int flow_ready(self, Flow* flow, uint8_t events) except -1:
        """Process events of a flow (FlowEvent)."""
        return 0

    cdef int flow_left(self, Flow* flow) except -1:
        """The socket of a flow was shut (`flow_socket`): nothing more is read or put."""
        return 0
