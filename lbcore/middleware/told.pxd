# What a request says by a header, to middlewares as to servers.

from lbcore.http.request cimport Request
from lbcore.http.span cimport Span


cdef Span find_told(Request request, const char* lower, Py_ssize_t length) noexcept
