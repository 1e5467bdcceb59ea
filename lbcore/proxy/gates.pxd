# The middlewares of services that a request passes once a server was found.

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.middleware.base cimport Context, Middleware, Pending
from lbcore.routing.guarded cimport Guarded


cdef class Gates:
    cdef Py_ssize_t first_step         # number of its first middleware, among all that the request passes
    cdef list entered                  # Guarded, outermost first: all but the last one were passed
    cdef Py_ssize_t passed             # middlewares of the last one
    cdef list originals                # Request, as it was before each of `entered`; those beyond are used again

    cdef int run(self, list gates, Request request, Response answer, Context context, Pending settled) except -1
    cdef int enter(self, Guarded gate, Request request) except -1
    cdef int go_back(self, Py_ssize_t count, Request request, Context context) except -1
    cdef Py_ssize_t step_of(self, Py_ssize_t count) noexcept
    cdef Request behind(self, Py_ssize_t count, Request request)
    cdef Py_ssize_t count_passed(self) noexcept
    cdef Middleware at(self, Py_ssize_t step)
    cdef str place_of(self, Py_ssize_t step)
    cdef list names(self)
    cdef Middleware at_work(self)
    cdef void clear(self) noexcept
