# A session of HTTP/2 over a socket, towards a client or a server: frames in and out, and the flow of each stream.

from libc.stdint cimport int32_t, uint32_t, uint8_t

from lbcore.http.span cimport Span
from lbcore.http2.memory cimport SessionMemory
from lbcore.http2.nghttp2 cimport FrameHead
from lbcore.transport.flow cimport Flow, FlowSession
from lbcore.transport.socket cimport OwnedSocket

cdef enum:
    FRAME_HEAD_BYTES = 9
    LATE_BYTES = 327680        # that may be on their way when lbcore ends a stream: its window, and the heads of frames
    LATE_STREAMS = 16          # streams that lbcore has ended itself, and whose late frames are known to be late


cdef class Http2Session(FlowSession):
    cdef void* session                 # nghttp2_session, owned; NULL before `open` and after `free`
    cdef SessionMemory memory          # of `session`
    cdef OwnedSocket socket
    cdef Flow* section                 # the flow whose field section is being received; NULL = none
    cdef bint batch_full               # the output holds a batch, and the library has more
    cdef bint blocked                  # the socket takes no more now
    cdef bint called_back              # the library has called back since it was last given input
    cdef bint ended                    # the peer has ended the connection
    cdef bint broken                   # the connection is broken
    cdef bint deaf                     # the server takes nothing more; what it has sent before is still read
    cdef bint failed                   # the library cannot continue: the input is not HTTP/2, or there is no memory
    cdef bint graceful                 # a GOAWAY was sent after which streams may still begin
    cdef bint is_server
    cdef Py_ssize_t resets             # flows that are reset when our side has ended
    cdef Py_ssize_t frame_left         # bytes of the frame that is being received, or of the preface
    cdef uint8_t[FRAME_HEAD_BYTES] frame_head      # the first bytes of a frame whose head is incomplete
    cdef int head_have                 # their number
    cdef int32_t newest_id             # of the streams that the peer has begun
    cdef int32_t[LATE_STREAMS] late    # streams that ended before the peer had ended its side: its frames may still arrive
    cdef int late_at                   # index of the next entry
    cdef Py_ssize_t late_bytes         # that may still come for those streams, as far as they are not charged for
    cdef int32_t late_before           # streams up to this one may be late as well: they are no longer in `late`

    cdef int open(self, OwnedSocket socket, bint is_server, uint32_t streams, uint32_t decoder_bytes, uint32_t encoder_bytes) except -1
    cdef void free(self) noexcept
    cdef int receive(self) except -1
    cdef int send(self) except -1
    cdef int encode(self) except -1
    cdef void lose_peer(self) noexcept
    cdef bint reset_ended(self) noexcept
    cdef void look_through(self, const uint8_t* bytes, Py_ssize_t length) noexcept
    cdef void look_at(self, const uint8_t* head, const uint8_t* bytes, Py_ssize_t length) noexcept
    cdef void note_late(self, int32_t stream_id) noexcept
    cdef bint may_be_late(self, int32_t stream_id) noexcept
    cdef void charge_silent(self, Py_ssize_t count) noexcept
    cdef bint is_finished(self) noexcept
    cdef int socket_event(self, uint32_t events) except -1
    cdef int submit_request(self, Flow* flow, bint has_body) except -1

    # Implemented by the sides; all but `after_send` are called by the library, and must not call it
    cdef Flow* begin_section(self, int32_t stream_id) noexcept
    cdef int take_field(self, Flow* flow, Span name, Span value) noexcept
    cdef void section_complete(self, Flow* flow) noexcept
    cdef void frame_received(self, const FrameHead* frame) noexcept
    cdef int after_send(self) except -1
