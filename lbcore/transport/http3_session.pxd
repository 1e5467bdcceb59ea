# A session of HTTP/3 over a connection of QUIC: packets and frames in and out, and the flow of each stream.

from libc.stdint cimport int64_t, uint64_t

from lbcore.http.span cimport Span
from lbcore.http3.ngtcp2 cimport Callbacks, CloseError, ConnRef
from lbcore.transport.flow cimport Flow
from lbcore.transport.quic cimport QuicSession


cdef class Http3Session(QuicSession):
    cdef void* http                    # nghttp3_conn, owned; NULL until there are keys for data, and after the end
    cdef int error                     # of nghttp3, found in a callback; 0 = none
    cdef bint shook_hands              # the handshake has just ended
    cdef bint moved                    # the peer has just changed its address
    cdef bint all_written              # the packet that was written last was empty: nothing more can be sent now
    cdef bint is_drained               # the connection is closed: nothing may be sent
    cdef uint64_t stream_limit         # streams that the peer may have begun so far
    cdef Py_ssize_t unacknowledged     # bytes of bodies that were given to the library, of all flows

    cdef int begin_http(self) noexcept
    cdef Flow* flow_of(self, int64_t stream_id) noexcept
    cdef void refuse(self, int64_t stream_id) noexcept
    cdef void doom(self, Flow* flow, uint64_t code) noexcept
    cdef void give_room(self, Flow* flow) noexcept
    cdef int after_library(self) except -1
    cdef int flush(self) except -1
    cdef int fail(self, int error) except -1
    cdef int close_with(self, int error) except -1
    cdef int say_closed(self, const CloseError* reason) except -1
    cdef int close_quic(self, uint64_t code, bint application) except -1
    cdef void free_quic(self) noexcept

    # Implemented by the sides. The first two are called by the library, and must not call it
    cdef Flow* begin_section(self, int64_t stream_id) noexcept
    cdef int take_field(self, Flow* flow, Span name, Span value) noexcept
    cdef int handshake_complete(self) except -1
    cdef int address_changed(self) except -1
    cdef int after_send(self) except -1
    cdef int closed(self) except -1


cdef const Callbacks* callbacks() except NULL
cdef void* on_conn(ConnRef* reference) noexcept
