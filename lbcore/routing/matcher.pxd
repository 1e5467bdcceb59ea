# A rule as a program of tests with jumps: run on a request head, without Python.

from libc.stdint cimport uint8_t

from lbcore.http.head cimport RequestHead
from lbcore.http.request cimport Request
from lbcore.http.span cimport Span

cdef enum TestKind:
    TEST_ANY = 0
    TEST_HOST
    TEST_HOST_LABEL            # `*.example.com`: one label and then `text`, which begins with a dot
    TEST_HOST_REGEX
    TEST_PATH
    TEST_PATH_PREFIX
    TEST_PATH_REGEX
    TEST_METHOD
    TEST_HEADER
    TEST_HEADER_REGEX
    TEST_QUERY
    TEST_QUERY_REGEX
    TEST_CLIENT
    TEST_COOKIE
    TEST_ALPN
    TEST_NEVER

cdef enum:
    ACCEPT = -1
    REJECT = -2

cdef struct Test:
    int kind                   # TestKind
    int on_true                # the next test, always a later one, or ACCEPT or REJECT
    int on_false
    int bits                   # of `ip`, of 128
    Span text                  # the text to compare with
    Span name                  # of a header, in lower case; of a query key, decoded
    void* regex
    uint8_t ip[16]


cdef class Program:
    cdef Test* tests           # owned, in one block with the texts to which they point
    cdef int count
    cdef list kept             # owns other objects to which they point

    cdef int add(self, object matcher, int on_true, int on_false) except -1
    cdef Span keep(self, str text)
    cdef int pack(self) except -1


cdef bint run(const Test* tests, const RequestHead* head) noexcept nogil
cdef Request read_head(bytes head, str client)
