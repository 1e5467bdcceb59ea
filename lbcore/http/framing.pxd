# Where the body of a message ends. All code that matters for request smuggling is in this pair of files.

from libc.stdint cimport int64_t, uint8_t

from lbcore.http.head cimport Header
from lbcore.http.span cimport Span


cdef enum BodyKind:
    BODY_NONE = 0
    BODY_LENGTH                # as many bytes as Content-Length says
    BODY_CHUNKED
    BODY_UNTIL_CLOSE           # of answers only

cdef struct Framing:
    int body                   # BodyKind
    int64_t length             # bytes of the body for BODY_LENGTH, else 0
    bint keep_alive            # the sender allows another message on this connection
    bint upgrade               # `Connection: upgrade` together with an Upgrade header, other than to h2c
    bint has_connection        # there is a Connection header
    bint names_headers         # a Connection header names other headers: they are hop-by-hop too
    bint expects_continue      # requests only
    bint te_trailers           # the client accepts trailers

cdef enum ChunkEvent:
    CHUNK_MORE = 0             # all input is used up
    CHUNK_DATA                 # `data` holds a part of the body
    CHUNK_TRAILERS             # the last chunk was read: the trailer section follows, up to an empty line
    CHUNK_BAD                  # framing error: the connection must close

cdef struct ChunkDecoder:
    int state
    int digits                 # hex digits seen in this size line
    int64_t left               # bytes of this chunk still to come
    int64_t extension_bytes    # of all chunks of this body


cdef int frame_request(Header* headers, const uint8_t* kinds, Py_ssize_t count, int minor_version,
                       Framing* framing) noexcept nogil
cdef int frame_response(Header* headers, const uint8_t* kinds, Py_ssize_t count, int minor_version, int status,
                        bint head_request, Framing* framing) noexcept nogil
cdef int64_t parse_length(Span value) noexcept nogil
cdef bint value_lists(Span value, Span name) noexcept nogil
cdef bint field_lists(const Header* headers, const uint8_t* kinds, Py_ssize_t count, uint8_t kind, Span name) noexcept nogil
cdef bint connection_lists(const Header* headers, const uint8_t* kinds, Py_ssize_t count, Span name) noexcept nogil
cdef bint upgrade_agreed(const Header* asked, const uint8_t* asked_kinds, Py_ssize_t n_asked,
                         const Header* said, const uint8_t* said_kinds, Py_ssize_t n_said) noexcept nogil
cdef int chunk_decode(ChunkDecoder* decoder, const char* ptr, Py_ssize_t length, Py_ssize_t* used,
                      Span* data) noexcept nogil
