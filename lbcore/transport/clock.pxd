# The `Date` header's value, made once a second.

from lbcore.http.span cimport Span


cdef Span http_date() noexcept nogil
