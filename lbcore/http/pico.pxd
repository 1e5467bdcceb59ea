# picohttpparser's functions as typed C pointers, resolved once through cffi.

from lbcore.http.head cimport Header

# Each returns the length of the head, -1 when it is malformed, -2 when it is not complete yet.
# `count` is the capacity of `headers` before the call, and the number of headers found after it.
# `last_len` is the number of bytes that an earlier call has seen: until the end of the head is there, a scan replaces the parse.
ctypedef int (*parse_request_fn)(
    const char* buf, size_t length, const char** method, size_t* method_len, const char** path, size_t* path_len,
    int* minor_version, Header* headers, size_t* count, size_t last_len) noexcept nogil
ctypedef int (*parse_response_fn)(
    const char* buf, size_t length, int* minor_version, int* status, const char** reason, size_t* reason_len,
    Header* headers, size_t* count, size_t last_len) noexcept nogil
ctypedef int (*parse_headers_fn)(
    const char* buf, size_t length, Header* headers, size_t* count, size_t last_len) noexcept nogil

cdef enum:
    PICO_MALFORMED = -1
    PICO_PARTIAL = -2

cdef parse_request_fn pico_parse_request
cdef parse_response_fn pico_parse_response
cdef parse_headers_fn pico_parse_headers
