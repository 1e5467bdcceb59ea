# Middlewares whose steps are methods of a class in Python.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from lbcore.http.request cimport Request as RequestHead
from lbcore.http.response cimport Response as ResponseHead
from lbcore.middleware.base cimport Context, Middleware, Pending
from lbcore.middleware.views cimport Request, Response
from lbcore.state.budget cimport MemoryBudget
from lbcore.state.layout cimport ServerStats
from lbcore.state.region cimport Region


cdef class Kept:                       # an instance of a class, with what was said of it; it outlives reloads that do not change it
    cdef object __weakref__
    cdef readonly object instance
    cdef bint told_slow                # that a call was too long was logged
    cdef bint told_late                # that one did not end was logged
    cdef double second                 # monotonic: errors since then are counted in `errors`
    cdef int errors


cdef class Steps:                      # a coroutine whose steps are measured
    cdef object inner
    cdef PythonMiddleware owner


cdef class Call(Pending):              # an async method at work, for which an exchange waits
    cdef PythonMiddleware owner
    cdef Request request               # the views that it has, closed when the call is over
    cdef Response response             # None on the way in
    cdef object task

    cdef int leave(self) except -1


cdef class PythonMiddleware(Middleware):
    cdef object config
    cdef Kept kept
    cdef object on_request_method      # bound; None = the class has none
    cdef object on_response_method
    cdef Py_ssize_t body_limit         # 0 = bodies pass by
    cdef int64_t slow_ns               # 0 = calls are not measured
    cdef int64_t timeout_ms
    cdef Request spare                 # a closed view, to be used again
    cdef ServerStats* stats            # of this middleware in this worker: a row of `region`, or `own`
    cdef ServerStats own
    cdef Region region                 # None: it is not counted
    cdef uint32_t slot

    cdef int call_request(self, RequestHead request, ResponseHead answer, Context context, bytes body, MemoryBudget budget) except -1
    cdef int answered(self, object result, Call call, Request request, Response response, ResponseHead answer, Context context) except -1
    cdef int failed(self, object error, Request request, Response response, ResponseHead answer) except -1
    cdef int ended(self, Call call, ResponseHead answer, Context context) except -1
    cdef Request view(self, RequestHead request, Context context)
    cdef void close(self, Request request, Response response) noexcept
    cdef int measure(self, uint64_t began_ns) except -1
    cdef int tell(self, str what, object error) except -1
