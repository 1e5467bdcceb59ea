# Requests that may be asked of a fallback, once the main service has failed.

from lbcore.proxy.exchange cimport Exchange


cdef bint keep(Exchange exchange) except *
cdef bint fail_over(Exchange exchange, int status) except *
