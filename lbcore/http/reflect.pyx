"""The answer to TRACE: the request as it was received (RFC 9110 section 9.3.8). No I/O."""

from libc.string cimport memcpy

from lbcore.http.head cimport RequestHead
from lbcore.http.known cimport H_DROPPED, H_PROXY_AUTHORIZATION
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport span_bytes, span_eq, span_of

# Scripts cannot read these headers of their page's requests, and must not learn them from an answer.
SECRET = (b"cookie", b"cookie2", b"authorization", b"proxy-authorization")


cdef bint reflect(Request request, Response answer) except -1:
    """Fill `answer` with the head of a TRACE request, without secret headers. Returns whether the method is TRACE."""
    cdef RequestHead* head = &request.head
    cdef Py_ssize_t i
    cdef char* copy
    if not span_eq(head.method, b"TRACE", 5):
        return False
    version = b"1.%d" % head.minor_version if head.major_version == 1 else b"%d.0" % head.major_version
    lines = [b"%b %b HTTP/%b" % (span_bytes(head.method), span_bytes(head.target), version)]
    for i in range(request.n_headers):
        name = span_bytes(request.headers[i].name)
        if request.kinds[i] not in (H_DROPPED, H_PROXY_AUTHORIZATION) and name.lower() not in SECRET:
            lines.append(name + b": " + span_bytes(request.headers[i].value))
    text = b"\r\n".join(lines) + b"\r\n\r\n"
    answer.clear()
    answer.status = 200
    copy = answer.alloc(len(text))
    memcpy(copy, <const char*>text, len(text))
    answer.text = span_of(copy, len(text))
    answer.append(span_of(b"Content-Type", 12), span_of(b"message/http", 12))
    return True
