# A request on its way through middlewares, without an exchange.

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.middleware.base cimport Context
from lbcore.state.budget cimport MemoryBudget


cdef class Rehearsal(Context):
    cdef Request request
    cdef Response answer
    cdef MemoryBudget memory
    cdef str where             # of the middleware at work
    cdef str asked             # name of the service that it asks; None = none

    cdef int end_waiting(self) except -1
