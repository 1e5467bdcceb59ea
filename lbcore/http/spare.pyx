"""Requests and answers without a user, for those that need more than the ones of their exchange. No I/O."""

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF

from lbcore.http.message cimport Message
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.sanitizer cimport POOLS

cdef enum:
    KEPT = 256                 # of each


cdef struct Spares:            # of one kind
    PyObject* items[KEPT]      # the first `count` are used, and owned
    Py_ssize_t count


cdef Spares requests
cdef Spares responses


cdef Message take(Spares* spares):
    """The one that was given back last, or None."""
    cdef Message found
    if spares.count == 0:
        return None
    spares.count -= 1
    found = <Message>spares.items[spares.count]
    Py_DECREF(found)           # the reference of `items`
    return found


cdef int give(Spares* spares, Message message) except -1:
    if POOLS and spares.count < KEPT:
        message.clear()
        Py_INCREF(message)
        spares.items[spares.count] = <PyObject*>message
        spares.count += 1
    return 0


cdef Request request_take():
    """An empty request."""
    cdef Message found = take(&requests)
    return Request.__new__(Request) if found is None else <Request>found


cdef int request_give(Request request) except -1:
    """Nothing of it is read any more."""
    return give(&requests, request)


cdef Response response_take():
    """An empty answer."""
    cdef Message found = take(&responses)
    return Response.__new__(Response) if found is None else <Response>found


cdef int response_give(Response response) except -1:
    """Nothing of it is read any more."""
    return give(&responses, response)
