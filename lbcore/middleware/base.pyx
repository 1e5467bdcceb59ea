"""What every middleware is: a step that may change a request, answer it, or change its answer. No I/O."""

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response


cdef class Middleware:
    """Immutable and shared by all exchanges of a worker: what belongs to one exchange lives on its request and answer."""

    cdef bint on_request(self, Request request, Response answer) except *:
        """Change the request on its way to the server. True: `answer` holds the answer, the server is not asked."""
        return False

    cdef int on_response(self, Request request, Response response) except -1:
        """Change the head of the answer on its way to the client. Called in reverse order when `sees_answer`."""
        return 0
