# basicAuth, and the answer that asks for credentials.

from lbcore.http.response cimport Response


cdef int challenge(Response answer, bytes value) except -1
