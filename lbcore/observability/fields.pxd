# The contents of a line of the access log: fields, headers, and the path.

from lbcore.http.request cimport Request
from lbcore.http.span cimport Span


cdef enum HeaderMode:
    MODE_DROP = 0
    MODE_KEEP
    MODE_REDACT


cdef class LogFields:
    cdef dict kept                     # lower-case name -> kept, for the fields that the configuration names
    cdef bint keep_others
    cdef bint with_query               # RequestPath includes the query
    cdef dict header_modes             # lower-case name -> HeaderMode
    cdef int header_mode               # of all other headers
    cdef bint with_headers             # at least one header is logged

    cdef bint keeps(self, str name) except -1
    cdef int mode_of(self, str name) except -1
    cdef Span put_path(self, Request request, char* out) noexcept


cdef inline bint is_read(Request request) noexcept nogil:
    """Whether the head was read to its end. Headers of a head that was refused before are not logged."""
    return request.head.path.ptr != NULL


cdef inline Py_ssize_t path_room(Request request) noexcept nogil:
    """Most bytes that `LogFields.put_path` writes."""
    return 2 + request.head.first_path.len + request.head.query.len + request.head.target.len
