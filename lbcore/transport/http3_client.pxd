# HTTP/3 towards a client: a connection of QUIC, and the frames on its streams. The streams themselves are in flow_client.

from libc.stdint cimport int64_t, uint64_t

from lbcore.http3.ngtcp2 cimport CloseError, Path
from lbcore.transport.flow cimport Flow
from lbcore.transport.flow_client cimport FlowConnection
from lbcore.transport.quic cimport QuicEndpoint, QuicSession
from lbcore.transport.reactor cimport Timed


cdef class Http3Session(QuicSession):
    cdef void* http                    # nghttp3_conn, owned; NULL until keys for data are there, and once it has closed
    cdef Http3ClientConnection connection      # None once it has closed
    cdef int error                     # of nghttp3, that a callback came upon; 0 = none
    cdef bint shook_hands              # the handshake has just ended
    cdef bint moved                    # the client speaks from another address
    cdef bint is_drained               # the client has closed the connection: nothing may be sent
    cdef bint writing                  # packets are being made
    cdef uint64_t stream_limit         # streams that the client may have begun so far
    cdef Py_ssize_t unacknowledged     # bytes of bodies that were given to the library, of all flows

    cdef int begin_http(self) noexcept
    cdef Flow* flow_of(self, int64_t stream_id) noexcept
    cdef void refuse(self, int64_t stream_id) noexcept
    cdef void doom(self, Flow* flow, uint64_t code) noexcept
    cdef void give_room(self, Flow* flow) noexcept
    cdef int resume_flow(self, Flow* flow) except -1
    cdef int after_library(self) except -1
    cdef int flush(self) except -1
    cdef int fail(self, int error) except -1
    cdef int close_with(self, int error) except -1
    cdef int say_closed(self, const CloseError* reason) except -1
    cdef int close_quic(self, uint64_t code, bint application) except -1
    cdef void free_quic(self) noexcept


cdef class Http3Timer(Timed):
    cdef Http3ClientConnection connection      # None once it has closed


cdef class Http3ClientConnection(FlowConnection):
    cdef Http3Session session
    cdef Http3Timer timer
    cdef bint client_leaves            # it has said that it needs no more answers

    cdef int learn(self) except -1
    cdef int move(self, const Path* path) except -1
    cdef int proceed(self) except -1
    cdef int closed(self) except -1


cdef class Http3Endpoint(QuicEndpoint):
    pass
