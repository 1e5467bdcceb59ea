# A request that a middleware makes itself, to a service.

from libc.stdint cimport int64_t

from lbcore.http.request cimport Request
from lbcore.middleware.base cimport Reply
from lbcore.proxy.exchange cimport Exchange
from lbcore.proxy.recording cimport Owner, Recording
from lbcore.routing.service cimport Service
from lbcore.transport.local_stream cimport LocalStream


cdef class ServiceReply(Reply):
    cdef AskStream stream              # the client's end of the exchange; None after its end
    cdef Recording kept                # owns the memory of `Reply.body`, which counts to the instance's budget; None: there is no body

    cdef int stop(self) except -1


cdef class AskStream(LocalStream):
    cdef ServiceReply reply            # None after the end of the exchange
    cdef Owner limit                   # that keeps the answer's body; None until some of it comes
    cdef int64_t limit_bytes           # of it; -1 = any number
    cdef bint is_sending               # `send` has not returned: the reply is settled later

    cdef int send(self, Service service) except -1
    cdef int keep(self) except -1
    cdef int settle(self, bint whole) except -1
    cdef int leave(self) except -1


cdef ServiceReply ask_service(Exchange exchange, Service service, Request request, bytes body, int64_t limit_bytes)
