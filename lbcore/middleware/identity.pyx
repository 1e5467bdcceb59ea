"""A header that says to servers who the client is: what the client itself has sent by its name goes no further. No I/O."""

cimport cython

from lbcore.http.known cimport H_DROPPED, alias_is, header_kind, is_managed
from lbcore.http.request cimport Request
from lbcore.http.span cimport Span, span_of


@cython.final
cdef class IdentityHeader:
    """One header, by its name as it is written."""

    def __init__(self, str name):
        self.name = name.encode()
        self.lower = self.name.lower()
        self.folded = bytes([byte if chr(byte).isalnum() else 45 for byte in self.lower])

    cdef int remove(self, Request request) except -1:
        """Remove what the client sends by this name, or by one that servers may take for it (`X_User` for `X-User`), as a header or as a
        trailer. O(headers)."""
        cdef Py_ssize_t i, length = len(self.folded)
        for i in range(request.n_headers):
            if request.headers[i].name.len == length and request.kinds[i] != H_DROPPED \
                    and alias_is(request.headers[i].name, self.folded):
                request.drop_at(i)
        if request.find(b"trailer", 7).ptr == NULL or is_managed(header_kind(span_of(self.name, len(self.name)))):
            return 0                           # no trailer of such a name is forwarded
        return request.set_header(span_of(self.name, len(self.name)), span_of(self.lower, len(self.lower)), span_of(NULL, 0))

    cdef int add(self, Request request, Span value) except -1:
        """Append a line. `value` has to stay valid until the request is cleared."""
        return request.add_own(span_of(self.name, len(self.name)), value)

    cdef int put(self, Request request, bytes value) except -1:
        """Replace what there is by one line, whose text is copied."""
        self.remove(request)
        return self.add(request, request.keep(span_of(value, len(value))))
