"""Objects without a user, for those that need more of them than they own: requests, answers, and other kinds. No I/O."""

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.sanitizer cimport POOLS

cdef extern from "Python.h":
    Py_ssize_t references "Py_REFCNT"(PyObject* item)


cdef Spares requests
cdef Spares responses


cdef object spare_take(Spares* spares):
    """The one that was given back last. None: there is none, or somebody still refers to it, and keeps it."""
    cdef object found
    if spares.count == 0:
        return None
    spares.count -= 1
    found = <object>spares.items[spares.count]
    Py_DECREF(found)           # the reference of `items`
    return found if references(<PyObject*>found) == 1 else None


cdef bint spare_keep(Spares* spares, object item) except -1:
    """Whether there was room for it. What it holds has to be given up by then, or is at the latest when it is taken."""
    if not POOLS or spares.count == KEPT_SPARES:
        return False
    Py_INCREF(item)
    spares.items[spares.count] = <PyObject*>item
    spares.count += 1
    return True


cdef Request request_take():
    """An empty request."""
    cdef object found = spare_take(&requests)
    return Request.__new__(Request) if found is None else <Request>found


cdef int request_give(Request request) except -1:
    """Nothing of it is read any more."""
    if spare_keep(&requests, request):
        request.clear()
    return 0


cdef int request_keep(Request request) except -1:
    """`request_give` for one that is empty."""
    spare_keep(&requests, request)
    return 0


cdef Response response_take():
    """An empty answer."""
    cdef object found = spare_take(&responses)
    return Response.__new__(Response) if found is None else <Response>found


cdef int response_give(Response response) except -1:
    """Nothing of it is read any more."""
    if spare_keep(&responses, response):
        response.clear()
    return 0
