# How far an answer has come on its way back through the middlewares that its request has passed.

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.middleware.base cimport Context, Pending
from lbcore.proxy.gates cimport Gates
from lbcore.routing.route cimport Route


cdef class WayBack:
    cdef bint begun                    # there is an answer: no server is asked any more
    cdef Py_ssize_t left               # steps that have not been asked yet: the ones before it
    cdef bint stopped                  # at a middleware that holds the head back: those in front of it are asked when it lets it go

    cdef void begin(self, Route route, Py_ssize_t passed, Gates gates) noexcept
    cdef int run(self, Route route, Gates gates, Request request, Response answer, Context context, Pending settled) except -1

    cdef inline void clear(self) noexcept:
        self.begun = self.stopped = False
        self.left = 0
