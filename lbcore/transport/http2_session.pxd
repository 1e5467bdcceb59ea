# A session of HTTP/2 over a socket, towards a client or a server: frames in and out, and the flow of each stream.

from libc.stdint cimport int32_t, int64_t, uint32_t, uint8_t

from lbcore.http.fields cimport FieldList
from lbcore.http.message cimport Message
from lbcore.http.span cimport Span
from lbcore.http2.nghttp2 cimport FrameHead
from lbcore.transport.reactor cimport Flushable
from lbcore.transport.socket cimport OwnedSocket

cdef enum:
    STREAM_WINDOW = 262144     # bytes of a stream that the peer may send before they were taken
    SESSION_WINDOW = 1048576   # of all streams of a session together

cdef enum FlowEvent:           # bits: what `flow_ready` is to look after
    FLOW_INPUT = 1             # a head, bytes of the body, or its end have come
    FLOW_ROOM = 2              # of what was put enough has gone out: more may be put
    FLOW_CLOSED = 4            # the stream is closed; said once, last

cdef struct ByteQueue:         # bytes in a block of the heap of their own: most streams hold few, or none
    char* base                 # owned
    Py_ssize_t size
    Py_ssize_t start
    Py_ssize_t end

cdef struct Flow:              # one stream of a session, embedded in the object that the session's owner has for it
    int32_t id
    void* owner                # that object, borrowed: the owner keeps it until it was told FLOW_CLOSED
    ByteQueue input            # of the peer's body, not taken yet: it counts against the windows
    ByteQueue output           # of ours, not sent yet
    void* trailers             # Message, behind `output`; a counted reference, see `flow_forget`; NULL: none
    uint8_t events             # FlowEvent bits; not 0: it is in the list of the session
    Flow* next_ready
    uint32_t code              # why it was closed
    bint head_complete         # of the peer
    bint ended                 # the peer has ended its side
    bint discards              # what still comes of the body is wanted by nobody
    bint put_ended             # nothing is put behind `output` any more
    bint eof                   # the end of our side is on its way
    bint deferred              # the library waits to be told of more output
    bint full                  # the one who puts waits for FLOW_ROOM
    bint resets_after          # the peer is to send no more once our side has ended
    bint closed


cdef inline Py_ssize_t queue_len(const ByteQueue* queue) noexcept nogil:
    return queue.end - queue.start


cdef class Http2Session(Flushable):
    cdef void* session                 # nghttp2_session, owned; NULL before `open` and once freed
    cdef OwnedSocket socket
    cdef Flow* first_ready             # borrowed
    cdef Flow* last_ready
    cdef Flow* section                 # whose field section is coming; NULL: none is
    cdef Py_ssize_t buffered           # bytes in `output` of all flows
    cdef bint full                     # as much is encoded as is sent at once
    cdef bint blocked                  # the socket takes no more for now
    cdef bint in_library               # a call of the library is under way
    cdef bint heard                    # it has told of something since bytes were last given to it
    cdef bint ended                    # the peer has ended the connection
    cdef bint broken                   # it broke
    cdef bint failed                   # the library cannot go on: what the peer has sent is no HTTP/2, or memory is out
    cdef int64_t bytes_in
    cdef int64_t bytes_out
    cdef int64_t credit                # for frames that cost us and bring nothing; below 0 the peer is sent away
    cdef int64_t credited_ms           # when it was last refilled, by the reactor's clock
    cdef bint abused
    cdef bint graceful                 # a GOAWAY that ends nothing yet was sent: streams may begin still
    cdef FieldList list

    cdef int open(self, bint is_server, uint32_t streams, uint32_t decoder_bytes, uint32_t encoder_bytes) except -1
    cdef void free(self) noexcept
    cdef int receive(self) except -1
    cdef int send(self) except -1
    cdef int encode(self) except -1
    cdef int serve_ready(self) except -1
    cdef void mark(self, Flow* flow, uint8_t events) noexcept
    cdef void unmark(self, Flow* flow) noexcept
    cdef void spend(self, int cost) noexcept
    cdef bint is_over(self) noexcept

    # Of one stream
    cdef int put(self, Flow* flow, Span data) except -1
    cdef int put_end(self, Flow* flow, Message trailers) except -1
    cdef int resume(self, Flow* flow) except -1
    cdef int consume(self, Flow* flow, Py_ssize_t count) except -1
    cdef int discard(self, Flow* flow) except -1
    cdef int reset(self, Flow* flow, uint32_t code) except -1
    cdef void share(self, Flow* flow) noexcept
    cdef int request(self, Flow* flow, bint has_body) except -1
    cdef int respond(self, Flow* flow, bint has_body) except -1
    cdef int inform(self, Flow* flow, int status) except -1
    cdef int end_both(self, Flow* flow) except -1
    cdef void forget(self, Flow* flow) noexcept

    # Implemented by the sides; all but `flow_ready` are called by the library, and may not call it
    cdef Flow* begin_section(self, int32_t stream_id) noexcept
    cdef int take_field(self, Flow* flow, Span name, Span value) noexcept
    cdef void section_complete(self, Flow* flow) noexcept
    cdef void frame_received(self, const FrameHead* frame) noexcept
    cdef int flow_ready(self, Flow* flow, uint8_t events) except -1
    cdef int after_send(self) except -1


