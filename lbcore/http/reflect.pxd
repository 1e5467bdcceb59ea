# The answer to TRACE.

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response


cdef bint reflect(Request request, Response answer) except -1
