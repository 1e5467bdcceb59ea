# The value of the `Date` header, formatted once a second.

from lbcore.http.span cimport Span


cdef Span http_date() noexcept nogil
