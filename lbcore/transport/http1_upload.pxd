# The body of a request on its way from a client's HTTP/1.1 connection to the server.

from libc.stdint cimport int64_t

from lbcore.http.framing cimport ChunkDecoder
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.exchange cimport ClientStream, ServerStream
from lbcore.transport.socket cimport Socket
from lbcore.transport.splice cimport Pipe


cdef class Http1Upload(ClientStream):
    cdef Socket socket
    cdef EntryPoint entry_point
    cdef bint keep_alive       # another request may follow the one at work
    cdef Py_ssize_t seen       # bytes of an incomplete head, or trailer section, that were parsed already

    # The body, and then the next request, lies at the front of `socket.input`: heads are taken out when they are parsed.
    cdef Pipe* pipe            # while they are spliced
    cdef int body_kind         # BodyKind; BODY_NONE once all of it was passed on
    cdef int64_t body_left
    cdef bint in_trailers
    cdef ChunkDecoder decoder
    cdef bint continue_sent    # 100 Continue went out, or is not wanted

    cdef bint splice_body(self, ServerStream stream) except *
    cdef int pass_on(self) except -1
    cdef int end_body(self) except -1
    cdef void skip_body(self) noexcept
    cdef void drop_pipe(self) noexcept
    cdef int drop_if_gone(self) except -1
    cdef int drop(self) except -1
