# What is told of an exchange that is over.

from lbcore.proxy.exchange cimport Exchange


cdef int observe(Exchange exchange) except -1
