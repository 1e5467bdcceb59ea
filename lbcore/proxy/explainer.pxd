# Why an exchange went where it went, told to who may know.

from lbcore.middleware.base cimport Middleware
from lbcore.proxy.exchange cimport Exchange
from lbcore.routing.failover cimport Failover


cdef class Explainer:
    cdef bytes header                  # as it is written in answers
    cdef bytes lower
    cdef bytes secret
    cdef list order                    # (Rule, Route) of the entry point, as they are tried


cdef class Explanation(Middleware):
    cdef Explainer explainer
    cdef Exchange exchange
    cdef list before                   # routers that were tried and do not match
    cdef Py_ssize_t unnamed            # more of them

    cdef bytes text(self)


cdef int explain_if_asked(Exchange exchange) except -1
