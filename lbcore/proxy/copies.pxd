# Copies of a request for mirrors.

from lbcore.proxy.exchange cimport Exchange


cdef int prepare_copies(Exchange exchange) except -1
cdef int send_copies(Exchange exchange) except -1
cdef void shed_copies(Exchange exchange, bint oversized) noexcept
