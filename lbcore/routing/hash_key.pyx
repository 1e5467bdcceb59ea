"""The hash key: the part of a request by which consistent hashing chooses. No I/O."""

cimport cython
from libc.stdint cimport uint64_t

from lbcore.http.cookie cimport find_cookie
from lbcore.http.head cimport ClientAddress
from lbcore.http.request cimport Request
from lbcore.routing.asker cimport Asker
from lbcore.http.span cimport Span, span_eq, span_of
from lbcore.selection.mix cimport hash_bytes

SOURCES = {"clientIP": KEY_ADDRESS, "header": KEY_HEADER, "cookie": KEY_COOKIE, "query": KEY_QUERY, "path": KEY_PATH}


cdef Span find_parameter(Span query, const char* name, Py_ssize_t length) noexcept:
    """The undecoded value of the first parameter with a name, a part of `query`; a NULL pointer if there is none."""
    cdef Py_ssize_t at = 0, end
    while at < query.len:
        end = at
        while end < query.len and query.ptr[end] != c"&":
            end += 1
        if end - at > length and query.ptr[at + length] == c"=" and span_eq(span_of(query.ptr + at, length), name, length):
            return span_of(query.ptr + at + length + 1, end - at - length - 1)
        at = end + 1
    return span_of(NULL, 0)


cdef Span nth_from_right(Span addresses, int depth) noexcept:
    """The address `depth` entries from the right; a NULL pointer if there are fewer."""
    cdef Py_ssize_t end = addresses.len, start
    while depth > 0 and end > 0:
        start = end
        while start > 0 and addresses.ptr[start - 1] != c",":
            start -= 1
        depth -= 1
        if depth == 0:
            while start < end and addresses.ptr[start] == c" ":
                start += 1
            while end > start and addresses.ptr[end - 1] == c" ":
                end -= 1
            return span_of(addresses.ptr + start, end - start)
        end = start - 1
    return span_of(NULL, 0)


@cython.final
cdef class HashKey:
    """A source (a key of SOURCES), with its name or depth."""

    def __init__(self, str source="clientIP", str name="", int depth=0):
        self.source = SOURCES[source]
        self.name = name.lower().encode() if self.source == KEY_HEADER else name.encode()
        self.depth = depth

    cdef bint read(self, Asker asker, uint64_t* hash) except *:
        """Hash the key of a request. Returns False if the request has none."""
        cdef const ClientAddress* client = asker.address
        cdef Request request = asker.request
        cdef Span found = span_of(NULL, 0)
        if self.source == KEY_ADDRESS:
            if self.depth and request is not None:
                found = nth_from_right(request.find(b"x-forwarded-for", 15), self.depth)
            if found.len == 0 and client != NULL:
                found = span_of(<const char*>client.ip, 16)
        elif request is None:
            return False
        elif self.source == KEY_HEADER:
            found = request.find(self.name, len(self.name))
        elif self.source == KEY_COOKIE:
            found = find_cookie(request.headers, request.n_headers, self.name, len(self.name))
        elif self.source == KEY_QUERY:
            found = find_parameter(request.head.query, self.name, len(self.name))
        else:
            found = request.head.path
        if found.len == 0:
            return False
        hash[0] = hash_bytes(found.ptr, found.len, 0)
        return True
