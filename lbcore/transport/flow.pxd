# Streams of one session over QUIC: what has come and what goes out on each, and what a peer may cost.

from libc.stdint cimport int64_t, uint32_t, uint8_t

from lbcore.http.fields cimport FieldList
from lbcore.http.message cimport Message
from lbcore.http.span cimport Span
from lbcore.transport.reactor cimport Flushable, Reactor

cdef enum FlowEvent:           # bits: what `flow_ready` is to look after
    FLOW_INPUT = 1             # a head, bytes of the body, or its end have come
    FLOW_ROOM = 2              # of what was put enough has gone out: more may be put
    FLOW_CLOSED = 4            # the stream is closed; said once, last

cdef enum FlowError:           # why a stream is reset; the session knows the number on the wire
    RESET_NO_ERROR = 0
    RESET_MALFORMED
    RESET_INTERNAL
    RESET_CONNECT
    RESET_CANCELLED

cdef struct ByteQueue:         # bytes in a block of the heap of their own: most streams hold few, or none
    char* base                 # owned
    Py_ssize_t size
    Py_ssize_t start
    Py_ssize_t end

cdef struct Block:             # bytes that stay where they are until the peer has acknowledged them
    Block* next                # owned
    Py_ssize_t size
    Py_ssize_t end
    char data[1]               # `size` bytes

cdef struct BlockQueue:
    Block* first               # owned
    Block* last
    Block* given               # the block up to whose byte `given_end` the library refers to the bytes; NULL: to none
    Py_ssize_t given_end
    Py_ssize_t first_start     # bytes of `first` that are acknowledged
    Py_ssize_t waiting         # bytes that were put and not given to the library
    Py_ssize_t unacknowledged  # bytes that were given and not acknowledged

cdef struct Flow:              # one stream of a session, embedded in the object that the session's owner has for it
    int64_t id
    void* owner                # that object, borrowed: the owner keeps it until it was told FLOW_CLOSED
    ByteQueue input            # of the peer's body, not taken yet: it counts against the windows
    BlockQueue blocks          # of ours, not sent or not acknowledged yet
    void* trailers             # Message, behind the output; a counted reference, see `drop_trailers`; NULL: none
    uint8_t events             # FlowEvent bits; not 0: it is in the list of the session
    Flow* next_ready
    uint32_t code              # why it was closed
    bint head_complete         # of the peer
    bint ended                 # the peer has ended its side
    bint discards              # what still comes of the body is wanted by nobody
    bint put_ended             # nothing is put behind the output any more
    bint eof                   # the end of our side is on its way
    bint deferred              # the library waits to be told of more output
    bint full                  # the one who puts waits for FLOW_ROOM
    bint resets_after          # the peer is to send no more once our side has ended
    bint closed


cdef inline Py_ssize_t queue_len(const ByteQueue* queue) noexcept nogil:
    return queue.end - queue.start

cdef void queue_free(ByteQueue* queue) noexcept nogil
cdef int queue_add(ByteQueue* queue, const char* data, Py_ssize_t length) noexcept nogil
cdef void queue_take(ByteQueue* queue, Py_ssize_t length) noexcept nogil
cdef void blocks_free(BlockQueue* queue) noexcept nogil
cdef int blocks_add(BlockQueue* queue, const char* data, Py_ssize_t length) noexcept nogil
cdef Span blocks_give(BlockQueue* queue, Py_ssize_t most) noexcept nogil
cdef void blocks_acknowledge(BlockQueue* queue, Py_ssize_t length) noexcept nogil
cdef int keep_trailers(Flow* flow, Message trailers) except -1
cdef void drop_trailers(Flow* flow) noexcept


cdef class FlowSession(Flushable):
    cdef Reactor reactor
    cdef Flow* first_ready             # borrowed
    cdef Flow* last_ready
    cdef Py_ssize_t buffered           # bytes that were put on all flows and have not gone out
    cdef int64_t bytes_in
    cdef int64_t bytes_out
    cdef int64_t credit                # for frames that cost us and bring nothing; below 0 the peer is sent away
    cdef int64_t credited_ms           # when it was last refilled, by the reactor's clock
    cdef bint abused
    cdef FieldList list

    cdef int serve_ready(self) except -1
    cdef void mark(self, Flow* flow, uint8_t events) noexcept
    cdef void unmark(self, Flow* flow) noexcept
    cdef void spend(self, int cost) noexcept

    # Implemented by the protocols: of one stream
    cdef int put(self, Flow* flow, Span data) except -1
    cdef int put_end(self, Flow* flow, Message trailers) except -1
    cdef int consume(self, Flow* flow, Py_ssize_t count) except -1
    cdef int discard(self, Flow* flow) except -1
    cdef int reset(self, Flow* flow, uint32_t code) except -1
    cdef void share(self, Flow* flow) noexcept
    cdef int respond(self, Flow* flow, bint has_body) except -1
    cdef int inform(self, Flow* flow, int status) except -1
    cdef int end_both(self, Flow* flow) except -1
    cdef void forget(self, Flow* flow) noexcept

    # Implemented by the sides
    cdef int flow_ready(self, Flow* flow, uint8_t events) except -1
    cdef void send_away(self) noexcept
