# A session of HTTP/2 over a socket, towards a client or a server: frames in and out, and the flow of each stream.

from libc.stdint cimport int32_t, int64_t, uint32_t, uint8_t

from lbcore.http.fields cimport FieldList
from lbcore.http.message cimport Message
from lbcore.http.span cimport Span
from lbcore.http2.nghttp2 cimport FrameHead
from lbcore.transport.reactor cimport Flushable
from lbcore.transport.socket cimport OwnedSocket

cdef enum:
    STREAM_WINDOW = 262144     # bytes of a stream that the peer may send before they are consumed
    SESSION_WINDOW = 1048576   # the same for all streams of a session together
    FRAME_HEAD_BYTES = 9
    LATE_STREAMS = 16          # streams that lbcore has ended itself, and whose late frames are known to be late

cdef enum FlowEvent:           # bits
    FLOW_INPUT = 1             # a head, bytes of the body, or its end have arrived
    FLOW_ROOM = 2              # enough of the output was sent: more may be put
    FLOW_CLOSED = 4            # the stream is closed; the last event of a flow

cdef struct ByteQueue:         # bytes in a block of the heap of its own: most streams hold few, or none
    char* base                 # owned
    Py_ssize_t size
    Py_ssize_t start
    Py_ssize_t end

cdef struct Flow:              # one stream of a session, embedded in the stream object of the session's side
    int32_t id
    void* owner                # that object: borrowed, but a counted reference while the flow is `linked`
    Flow* newer                # neighbours among the open flows of the session
    Flow* older
    ByteQueue input            # bytes of the peer's body that are not consumed: they count against the windows
    ByteQueue output           # bytes of our body that are not sent
    void* trailers             # Message behind `output`; a counted reference, dropped by `release`; NULL = none
    uint8_t events             # FlowEvent bits; not 0 = the flow is in the session's list of marked flows
    Flow* next_ready           # in that list
    uint32_t code              # error code with which the stream was closed
    bint linked                # the flow is among the open flows of the session
    bint head_complete         # the peer's head is complete
    bint ended                 # the peer has ended its side
    bint discards              # input is dropped when it arrives
    bint put_ended             # `output` is complete
    bint eof                   # the end of our side was given to the library
    bint deferred              # the library waits to be resumed when there is more output
    bint full                  # the source of `output` waits for FLOW_ROOM
    bint resets_after          # the stream is reset without an error when our side has ended
    bint closed                # the library has closed the stream
    bint reset_by_peer


cdef inline Py_ssize_t queue_len(const ByteQueue* queue) noexcept nogil:
    return queue.end - queue.start


cdef class Http2Session(Flushable):
    cdef void* session                 # nghttp2_session, owned; NULL before `open` and after `free`
    cdef OwnedSocket socket
    cdef Flow* newest                  # the newest of the open flows
    cdef Py_ssize_t open_flows         # their number
    cdef Flow* first_ready             # the first marked flow, borrowed; NULL = none
    cdef Flow* last_ready
    cdef Flow* section                 # the flow whose field section is being received; NULL = none
    cdef Py_ssize_t buffered           # bytes in `output` of all flows
    cdef bint batch_full               # the output holds a batch, and the library has more
    cdef bint blocked                  # the socket takes no more now
    cdef bint in_library               # a call of the library is under way
    cdef bint called_back              # the library has called back since it was last given input
    cdef bint ended                    # the peer has ended the connection
    cdef bint broken                   # the connection is broken
    cdef bint failed                   # the library cannot continue: the input is not HTTP/2, or there is no memory
    cdef int64_t bytes_in              # since the owner has last counted them
    cdef int64_t bytes_out
    cdef int64_t credit                # see `charge`; below 0 the connection is ended
    cdef int64_t credited_ms           # time of its last increase, by the reactor's clock
    cdef bint abused                   # the credit was used up
    cdef bint graceful                 # a GOAWAY was sent after which streams may still begin
    cdef int64_t check_ms              # expiry of the socket's timer, by the reactor's clock; 0 = it is not set
    cdef FieldList* list               # of the head that is submitted next; one of the process, used within one call
    cdef bint is_server
    cdef Py_ssize_t frame_left         # bytes of the frame that is being received, or of the preface
    cdef uint8_t[FRAME_HEAD_BYTES] frame_head      # the first bytes of a frame whose head is incomplete
    cdef int head_have                 # their number
    cdef int32_t newest_id             # of the streams that the peer has begun
    cdef int32_t[LATE_STREAMS] late    # streams that ended before the peer had ended its side: its frames may still arrive
    cdef int late_at                   # index of the next entry
    cdef int32_t late_before           # streams up to this one may be late as well: they are no longer in `late`

    cdef int open(self, bint is_server, uint32_t streams, uint32_t decoder_bytes, uint32_t encoder_bytes) except -1
    cdef void free(self) noexcept
    cdef int receive(self) except -1
    cdef int send(self) except -1
    cdef int encode(self) except -1
    cdef int serve_ready(self) except -1
    cdef void mark(self, Flow* flow, uint8_t events) noexcept
    cdef void unmark(self, Flow* flow) noexcept
    cdef void link(self, Flow* flow) noexcept
    cdef void unlink(self, Flow* flow) noexcept
    cdef void charge(self, int cost) noexcept
    cdef void look_through(self, const uint8_t* bytes, Py_ssize_t length) noexcept
    cdef void look_at(self, const uint8_t* head, const uint8_t* bytes, Py_ssize_t length) noexcept
    cdef void note_late(self, int32_t stream_id) noexcept
    cdef bint may_be_late(self, int32_t stream_id) noexcept
    cdef bint is_finished(self) noexcept
    cdef int socket_event(self, uint32_t events) except -1
    cdef int check_by(self, int64_t until_ms) except -1

    # Of one stream
    cdef int put(self, Flow* flow, Span data) except -1
    cdef int put_end(self, Flow* flow, Message trailers) except -1
    cdef int resume(self, Flow* flow) except -1
    cdef int consume(self, Flow* flow, Py_ssize_t count) except -1
    cdef int discard(self, Flow* flow) except -1
    cdef int reset(self, Flow* flow, uint32_t code) except -1
    cdef void make_incremental(self, Flow* flow) noexcept
    cdef int submit_request(self, Flow* flow, bint has_body) except -1
    cdef int submit_response(self, Flow* flow, bint has_body) except -1
    cdef int submit_interim(self, Flow* flow, int status) except -1
    cdef int end_both(self, Flow* flow) except -1
    cdef void release(self, Flow* flow) noexcept

    # Implemented by the sides; all but `flow_ready` and `after_send` are called by the library, and must not call it
    cdef Flow* begin_section(self, int32_t stream_id) noexcept
    cdef int take_field(self, Flow* flow, Span name, Span value) noexcept
    cdef void section_complete(self, Flow* flow) noexcept
    cdef void frame_received(self, const FrameHead* frame) noexcept
    cdef int flow_ready(self, Flow* flow, uint8_t events) except -1
    cdef int after_send(self) except -1
