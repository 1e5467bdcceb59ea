"""Requests and answers without a user, for those that need more than the ones of their exchange. No I/O."""

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.sanitizer cimport POOLS

cdef enum:
    KEPT = 256                 # of each

cdef list requests = [None] * KEPT         # the first `n_requests` are used
cdef list responses = [None] * KEPT        # likewise
cdef Py_ssize_t n_requests = 0
cdef Py_ssize_t n_responses = 0


cdef Request request_take():
    """An empty request."""
    global n_requests
    cdef Request found
    if n_requests == 0:
        return Request.__new__(Request)
    n_requests -= 1
    found = <Request>requests[n_requests]
    requests[n_requests] = None
    return found


cdef int request_give(Request request) except -1:
    """Nothing of it is read any more."""
    global n_requests
    if POOLS and n_requests < KEPT:
        request.clear()
        requests[n_requests] = request
        n_requests += 1
    return 0


cdef Response response_take():
    """An empty answer."""
    global n_responses
    cdef Response found
    if n_responses == 0:
        return Response.__new__(Response)
    n_responses -= 1
    found = <Response>responses[n_responses]
    responses[n_responses] = None
    return found


cdef int response_give(Response response) except -1:
    """Nothing of it is read any more."""
    global n_responses
    if POOLS and n_responses < KEPT:
        response.clear()
        responses[n_responses] = response
        n_responses += 1
    return 0
