# The Cookie header of a request.

from lbcore.http.head cimport Header
from lbcore.http.span cimport Span


cdef Span find_cookie(const Header* headers, Py_ssize_t n_headers, const char* name, Py_ssize_t length) noexcept nogil
