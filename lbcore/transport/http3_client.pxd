# HTTP/3 towards a client: a connection of QUIC. Its streams are those of flow_client.


from lbcore.transport.flow_client cimport FlowConnection
from lbcore.transport.http3_session cimport Http3Session
from lbcore.transport.quic cimport QuicEndpoint
from lbcore.transport.reactor cimport Timed


cdef class Http3ClientSession(Http3Session):
    cdef Http3ClientConnection connection      # None after the connection was closed


cdef class Http3Timer(Timed):
    cdef Http3ClientConnection connection      # None after the connection was closed


cdef class Http3ClientConnection(FlowConnection):
    cdef Http3ClientSession session    # `flows`
    cdef Http3Timer timer

    cdef int proceed(self) except -1
    cdef int close(self) except -1


cdef class Http3Endpoint(QuicEndpoint):
    pass
