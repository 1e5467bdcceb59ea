# A request of a middleware's own to a service.

from libc.stdint cimport int64_t

from lbcore.http.request cimport Request
from lbcore.middleware.base cimport Reply
from lbcore.proxy.exchange cimport Exchange
from lbcore.proxy.recording cimport Owner, Recording
from lbcore.routing.service cimport Service
from lbcore.transport.local_stream cimport LocalStream


cdef class ServiceReply(Reply):
    cdef AskStream stream              # of the exchange under way; None when it is over
    cdef Recording kept                # owns the memory of `Reply.body`, charged to the instance's budget

    cdef int stop(self) except -1


cdef class AskStream(LocalStream):
    cdef ServiceReply reply            # None when the exchange is over
    cdef Owner limit                   # of the answer's body
    cdef object settle_later           # called with a Reply that is over before `send` has returned
    cdef bint is_sending

    cdef int send(self, Service service) except -1
    cdef int settle(self, bint whole) except -1
    cdef int leave(self) except -1


cdef ServiceReply ask_service(Exchange exchange, Service service, Request request, bytes body, int64_t limit_bytes,
                              object settle_later)
