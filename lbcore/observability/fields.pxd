# What a line of the access log tells of: which fields, which headers, and the path.

from lbcore.http.request cimport Request
from lbcore.http.span cimport Span


cdef enum HeaderMode:
    MODE_DROP = 0
    MODE_KEEP
    MODE_REDACT


cdef class LogFields:
    cdef dict kept                     # lower-case field name -> kept, for those named
    cdef bint keep_others
    cdef bint with_query               # RequestPath has it
    cdef dict header_modes             # lower-case name -> HeaderMode
    cdef int header_mode               # of the others
    cdef bint with_headers             # some header is told of

    cdef bint keeps(self, str name) except -1
    cdef int mode_of(self, str name) except -1
    cdef Span put_path(self, Request request, char* out) noexcept


cdef inline bint is_read(Request request) noexcept nogil:
    """Whether the head was read to its end. Nothing is told of the headers of one that was refused before."""
    return request.head.path.ptr != NULL


cdef inline Py_ssize_t path_room(Request request) noexcept nogil:
    """Bytes that `LogFields.put_path` writes at most."""
    return 2 + request.head.first_path.len + request.head.query.len + request.head.target.len
