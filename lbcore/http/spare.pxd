# Objects without a user: taken and given back instead of made and freed. Requests and answers, and others of whoever has `Spares`.

from cpython.object cimport PyObject

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response

cdef enum:
    KEPT_SPARES = 256

cdef struct Spares:                    # of one kind; zeroed
    PyObject* items[KEPT_SPARES]       # the first `count` are used, and owned
    Py_ssize_t count


cdef object spare_take(Spares* spares)
cdef bint spare_keep(Spares* spares, object item) except -1
cdef Request request_take()
cdef int request_give(Request request) except -1
cdef int request_keep(Request request) except -1
cdef Response response_take()
cdef int response_give(Response response) except -1
