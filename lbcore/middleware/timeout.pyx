"""timeout (extension): an exchange that takes too long ends with 504, or its answer breaks off. No I/O."""

cimport cython
from libc.stdint cimport int64_t

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.middleware.base cimport PASS, Context, Deadline, Middleware

from lbcore.config.units import milliseconds


@cython.final
cdef class Timeout(Middleware):
    """Counts from this middleware on, waits and further attempts included; for one of a service, until the request leaves it.
    What has switched protocols has no deadline."""

    cdef int64_t timeout_ms

    def __init__(self, str name, config):
        self.name = name
        self.sees_answer = self.sees_end = True
        self.timeout_ms = milliseconds(config.after)
        if not self.timeout_ms:
            raise ValueError("after: a duration above 0 is needed")

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        context.keep_state(context.set_deadline(self.timeout_ms))
        return PASS

    cdef int on_response(self, Request request, Response answer, Context context) except -1:
        return end_deadline(context) if answer.status == 101 else PASS

    cdef int on_end(self, Request request, int status, Context context) except -1:
        return end_deadline(context)


cdef int end_deadline(Context context) except -1:
    cdef Deadline deadline = <Deadline>context.state()
    return 0 if deadline is None else deadline.end()
