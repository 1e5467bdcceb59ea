# What every middleware is.

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response


cdef class Middleware:
    cdef readonly str name             # `name@provider`
    cdef bint sees_answer              # `on_response` has something to do

    cdef bint on_request(self, Request request, Response answer) except *
    cdef int on_response(self, Request request, Response response) except -1
