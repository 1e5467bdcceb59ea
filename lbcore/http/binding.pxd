# Whether a request or an answer authenticates the connection it comes on, and not itself alone: NTLM and Negotiate (RFC 4559).

from lbcore.http.message cimport Message
from lbcore.http.span cimport Span, span_ieq, span_of


cdef inline bint is_bound_scheme(Span value) noexcept nogil:
    """Whether credentials, or a challenge, are of a scheme whose handshake belongs to the connection."""
    cdef Py_ssize_t length = 9
    if value.len >= 4 and span_ieq(span_of(value.ptr, 4), b"ntlm", 4):
        length = 4
    elif value.len < 9 or not span_ieq(span_of(value.ptr, 9), b"negotiate", 9):
        return False
    return value.len == length or value.ptr[length] == c" " or value.ptr[length] == c","


cdef inline bint binds(Message message, const char* lower, Py_ssize_t length) noexcept nogil:
    """Whether a header with a name, given in lower case, begins with such a scheme."""
    cdef Py_ssize_t i
    for i in range(message.n_headers):
        if message.headers[i].name.len == length and span_ieq(message.headers[i].name, lower, length) \
                and is_bound_scheme(message.headers[i].value):
            return True
    return False
