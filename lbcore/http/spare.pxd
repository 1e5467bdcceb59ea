# Requests and answers without a user: taken and given back instead of made and freed.

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response


cdef Request request_take()
cdef int request_give(Request request) except -1
cdef Response response_take()
cdef int response_give(Response response) except -1
