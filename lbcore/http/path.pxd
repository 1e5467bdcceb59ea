# The normal form of a request's path, which rules match and servers get.

from libc.stdint cimport uint32_t

from lbcore.http.arena cimport Arena
from lbcore.http.span cimport Span


cdef enum EncodedCharacter:    # bits of PathOptions.refused: a target with such an encoded character is answered with 400
    ENCODED_SLASH = 1
    ENCODED_BACKSLASH = 2
    ENCODED_NULL = 4
    ENCODED_SEMICOLON = 8
    ENCODED_PERCENT = 16
    ENCODED_QUESTION_MARK = 32
    ENCODED_HASH = 64

cdef struct PathOptions:
    bint sanitise              # entryPoints.X.http.sanitizePath
    bint encode_semicolons     # in the query: %3B instead of &
    uint32_t refused           # EncodedCharacter bits


cdef int path_normalise(const PathOptions* options, Span target, Arena* arena, Span* path, Span* route_path,
                        Span* query, bint* has_query) noexcept nogil
cdef int decode_route_path(Span path, Arena* arena, Span* route_path) noexcept nogil
