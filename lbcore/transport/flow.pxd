# The streams of one session of HTTP/2 or HTTP/3: what has arrived and what is to be sent on each, and what a peer may cost.

from libc.stdint cimport int64_t, uint64_t, uint8_t

from lbcore.http.field_list cimport FieldBlock, FieldList
from lbcore.http.message cimport Message
from lbcore.http.span cimport Span
from lbcore.state.budget cimport MemoryBudget
from lbcore.transport.reactor cimport Flushable, Reactor

cdef enum:
    STREAM_WINDOW = 262144     # bytes of a stream that the peer may send before they are consumed
    SESSION_WINDOW = 1048576   # the same for all streams of a session together
    FLOW_BYTES = 65536         # unsent output of a flow that stops its source ...
    BUFFERED_BYTES = 524288    # ... and of all flows of a session, above which one piece of each is enough
    KEPT_BYTES = 65536         # that were sent of a flow, and are kept in case that the server has not looked at them ...
    KEPT_IN_ALL = 4194304      # ... and of all flows of a session
    DEFAULT_URGENCY = 3        # RFC 9218 section 4.1
    CREDIT = 1000              # largest credit, see `charge`
    FRAME_CREDIT = 4           # for a frame of ours, which the peer answers with frames of its own

cdef enum FlowEvent:           # bits
    FLOW_INPUT = 1             # a head, bytes of the body, or its end have arrived
    FLOW_ROOM = 2              # enough of the output was sent: more may be put
    FLOW_CLOSED = 4            # the stream is closed; the last event of a flow

cdef enum FlowError:           # the reason for a reset; each protocol has its own number for it
    RESET_NO_ERROR = 0
    RESET_MALFORMED
    RESET_INTERNAL
    RESET_CONNECT
    RESET_CANCELLED

cdef struct ByteQueue:         # bytes in a block of the heap of its own: most streams hold few, or none
    char* base                 # owned
    Py_ssize_t size
    Py_ssize_t start
    Py_ssize_t end

cdef struct Block:             # bytes that stay in their place until they are sent or, in HTTP/3, acknowledged
    Block* next                # owned
    Py_ssize_t size
    Py_ssize_t end
    char data[1]               # `size` bytes

cdef struct BlockQueue:
    Block* first               # owned
    Block* last
    Py_ssize_t first_start     # bytes of `first` that are dropped
    Py_ssize_t waiting         # bytes that were put, and not given to the library
    Block* given               # the block up to whose byte `given_end` the library refers to the bytes; NULL = to none
    Py_ssize_t given_end
    Py_ssize_t unacknowledged  # bytes that were given, and not dropped: see `keeps` of the flow, and HTTP/3

cdef struct Flow:              # one stream of a session, embedded in the stream object of the session's side
    int64_t id
    void* owner                # that object: borrowed, but a counted reference while the flow is `linked`
    Flow* newer                # neighbours among the open flows of the session
    Flow* older
    ByteQueue input            # bytes of the peer's body that are not consumed: they count against the windows
    BlockQueue output          # bytes of our body that are not sent, or not acknowledged
    FieldBlock* trailers       # behind `output`; owned; NULL = none
    uint8_t events             # FlowEvent bits; not 0 = the flow is in the session's list of marked flows
    Flow* next_ready           # in that list
    uint64_t code              # error code with which the stream was closed, by the protocol's numbers
    bint linked                # the flow is among the open flows of the session
    bint head_complete         # the peer's head is complete
    bint ended                 # the peer has ended its side
    bint discards              # input is dropped when it arrives
    bint put_ended             # `output` is complete
    bint eof                   # the end of our side was given to the library
    bint deferred              # the library waits to be resumed when there is more output
    bint keeps                 # bytes that were sent, and trailers, stay in `output`, to be sent once more elsewhere
    bint full                  # the source of `output` waits for FLOW_ROOM
    bint resets_after          # the stream is reset without an error when our side has ended
    bint closed                # the library has closed the stream
    bint reset_by_peer


cdef inline Py_ssize_t queue_len(const ByteQueue* queue) noexcept nogil:
    return queue.end - queue.start

cdef void queue_free(ByteQueue* queue) noexcept nogil
cdef int queue_add(ByteQueue* queue, const char* data, Py_ssize_t length) noexcept nogil
cdef void queue_take(ByteQueue* queue, Py_ssize_t length) noexcept nogil
cdef void blocks_free(BlockQueue* queue) noexcept nogil
cdef int blocks_add(BlockQueue* queue, const char* data, Py_ssize_t length) noexcept nogil
cdef void blocks_move(BlockQueue* queue, char* into, Py_ssize_t length) noexcept nogil
cdef void blocks_copy(BlockQueue* queue, char* into, Py_ssize_t length) noexcept nogil
cdef void blocks_forget(BlockQueue* queue) noexcept nogil
cdef bytes blocks_all(BlockQueue* queue)
cdef Span blocks_give(BlockQueue* queue, Py_ssize_t most) noexcept nogil
cdef void blocks_acknowledge(BlockQueue* queue, Py_ssize_t length) noexcept nogil
cdef void drop_trailers(Flow* flow) noexcept nogil


cdef class FlowSession(Flushable):
    cdef Reactor reactor
    cdef Flow* newest                  # the newest of the open flows
    cdef Py_ssize_t open_flows         # their number
    cdef bint asks                     # the peer is a server
    cdef Flow* first_ready             # the first marked flow, borrowed; NULL = none
    cdef Flow* last_ready
    cdef MemoryBudget budget           # from which `kept` is taken; there before the first flow with `keeps`
    cdef Py_ssize_t kept               # bytes that were sent of all flows with `keeps`
    cdef Py_ssize_t buffered           # bytes of all flows that were put, and not given to the library
    cdef int64_t bytes_in              # since the owner has last counted them
    cdef int64_t bytes_out
    cdef int64_t credit                # see `charge`; below 0 the connection is ended
    cdef int64_t credited_ms           # time of its last increase, by the reactor's clock
    cdef bint abused                   # the credit was used up
    cdef int64_t check_ms              # expiry of the timer, by the reactor's clock; 0 = it is not set
    cdef FieldList* list               # of the head that is submitted next; one of the process, used within one call

    cdef int serve_ready(self) except -1
    cdef void mark(self, Flow* flow, uint8_t events) noexcept
    cdef void unmark(self, Flow* flow) noexcept
    cdef void link(self, Flow* flow) noexcept
    cdef void unlink(self, Flow* flow) noexcept
    cdef void charge(self, int cost) noexcept
    cdef int check_by(self, int64_t until_ms) except -1

    # Of one stream
    cdef int put_end(self, Flow* flow, Message trailers) except -1
    cdef int discard(self, Flow* flow) except -1
    cdef void end_keeping(self, Flow* flow) noexcept
    cdef void drop_kept(self, Flow* flow, Py_ssize_t counted) noexcept
    cdef void keep_sent(self, Flow* flow, Py_ssize_t length) noexcept

    # Of one stream, implemented by the protocols
    cdef int put(self, Flow* flow, Span data) except -1
    cdef int resume(self, Flow* flow) except -1
    cdef int consume(self, Flow* flow, Py_ssize_t count) except -1
    cdef int reset(self, Flow* flow, int error) except -1
    cdef void make_incremental(self, Flow* flow) noexcept
    cdef int submit_response(self, Flow* flow, bint has_body) except -1
    cdef int submit_interim(self, Flow* flow, int status) except -1
    cdef int end_both(self, Flow* flow) except -1
    cdef void release(self, Flow* flow) noexcept

    # Of the session, implemented by the protocols
    cdef void end_abuse(self) noexcept
    cdef int set_timer(self, int64_t delay_ms) except -1
    cdef void use_changed(self) noexcept

    # Implemented by the sides
    cdef int flow_ready(self, Flow* flow, uint8_t events) except -1
    cdef int flow_left(self, Flow* flow) except -1
