# The stream of a client's connection, as far as it is the same for all protocols: the body of its request.

from libc.stdint cimport int64_t

from lbcore.http.sink cimport Sink
from lbcore.proxy.exchange cimport ClientStream


cdef class RequestStream(ClientStream):
    cdef bint continue_sent            # 100 Continue was sent, or is not expected
    cdef int64_t began_ms              # arrival of the complete head, by the reactor's clock
    cdef int64_t excused_ms            # time since then in which the server was blocked, which does not count for the rate of the body
    cdef int64_t blocked_ms            # time since which the server is blocked; 0 = it is not

    cdef int64_t begin_body(self, bint expects_continue) noexcept
    cdef int64_t patience_ms(self) noexcept
    cdef int64_t now_ms(self) noexcept
    cdef bint has_body(self) noexcept
    cdef int put_continue(self) except -1
    cdef int read_body(self, Sink sink) except -1
    cdef int body_rests(self) except -1
    cdef int wait_for_server(self) except -1
