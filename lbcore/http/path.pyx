"""Normalisation of the path of a request target (RFC 3986 section 6.2.2). No I/O.

Rules match the same normal form that servers get: unreserved characters decoded, the hex digits of others in upper case, empty and
dot segments resolved (unless `sanitizePath` is off), and every byte that no URI may contain percent-encoded. The form is a fixed
point: normalising it again changes nothing.
"""

from urllib.parse import quote

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memchr

from lbcore.http.arena cimport Arena, arena_alloc, arena_free
from lbcore.http.span cimport Span, span_of

cdef enum:
    UNRESERVED = 1             # RFC 3986 section 2.3
    RESERVED = 2               # section 2.2, and the percent sign: these stay encoded if the client has encoded them
    LITERAL = 4                # allowed in a path without encoding

cdef uint8_t CLASS[256]
cdef const char* HEX = b"0123456789ABCDEF"


cdef void fill_classes() noexcept:
    cdef char c
    for c in b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~":
        CLASS[<uint8_t>c] = UNRESERVED | LITERAL
    for c in b":/?#[]@!$&'()*+,;=%":
        CLASS[<uint8_t>c] = RESERVED
    for c in b":/[]@!$&'()*+,;=":
        CLASS[<uint8_t>c] |= LITERAL


fill_classes()


cdef inline int hex_value(char c) noexcept nogil:
    if c"0" <= c <= c"9":
        return c - c"0"
    if c"a" <= c <= c"f":
        return c - c"a" + 10
    if c"A" <= c <= c"F":
        return c - c"A" + 10
    return -1


cdef inline int hex_byte(const char* ptr, const char* end) noexcept nogil:
    """The byte that a `%XX` at `ptr` encodes; -1 if there is none."""
    cdef int high, low
    if end - ptr < 3:
        return -1
    high = hex_value(ptr[1])
    low = hex_value(ptr[2])
    return -1 if high < 0 or low < 0 else high * 16 + low


cdef inline char* put_encoded(char* out, uint8_t byte) noexcept nogil:
    out[0] = c"%"
    out[1] = HEX[byte >> 4]
    out[2] = HEX[byte & 15]
    return out + 3


cdef inline uint32_t refusal_bit(int byte) noexcept nogil:
    if byte == c"/":
        return ENCODED_SLASH
    if byte == c"\\":
        return ENCODED_BACKSLASH
    if byte == 0:
        return ENCODED_NULL
    if byte == c";":
        return ENCODED_SEMICOLON
    if byte == c"%":
        return ENCODED_PERCENT
    if byte == c"?":
        return ENCODED_QUESTION_MARK
    if byte == c"#":
        return ENCODED_HASH
    return 0


cdef bint is_normal(Span path) noexcept nogil:
    """Whether a path is in normal form already, as nearly all paths are: one scan, no copy."""
    cdef Py_ssize_t i
    cdef char c, previous = 0
    if path.len == 0 or path.ptr[0] != c"/":
        return False
    for i in range(path.len):
        c = path.ptr[i]
        if not CLASS[<uint8_t>c] & LITERAL or (previous == c"/" and (c == c"/" or c == c".")):
            return False
        previous = c
    return True


cdef int recode(const PathOptions* options, Span raw, char* out, Py_ssize_t* length) noexcept nogil:
    """Decode unreserved bytes and encode those that are not allowed. Writes at most 3 bytes for each of `raw`. Returns 0 or 400."""
    cdef const char* ptr = raw.ptr
    cdef const char* end = raw.ptr + raw.len
    cdef char* start = out
    cdef int byte
    while ptr < end:
        if ptr[0] == c"%":
            byte = hex_byte(ptr, end)
            if byte < 0 or refusal_bit(byte) & options.refused:
                return 400
            if CLASS[byte] & UNRESERVED:
                out[0] = <char>byte
                out += 1
            else:
                out = put_encoded(out, <uint8_t>byte)
            ptr += 3
            continue
        if ptr[0] == c"#" or <uint8_t>ptr[0] <= 0x20 or ptr[0] == 0x7F:
            return 400
        if CLASS[<uint8_t>ptr[0]] & LITERAL:
            out[0] = ptr[0]
            out += 1
        elif refusal_bit(<uint8_t>ptr[0]) & options.refused:
            return 400                 # a backslash as it is: it would go on encoded
        else:
            out = put_encoded(out, <uint8_t>ptr[0])
        ptr += 1
    length[0] = out - start
    return 0


cdef Py_ssize_t resolve_segments(char* path, Py_ssize_t length) noexcept nogil:
    """Remove empty and `.` segments and resolve `..`, in place. Returns the new length, at least 1. Keeps a trailing slash."""
    cdef Py_ssize_t read = 0, write = 0, start, n
    cdef bint trailing = length > 0 and path[length - 1] == c"/"
    while read < length:
        while read < length and path[read] == c"/":
            read += 1
        start = read
        while read < length and path[read] != c"/":
            read += 1
        n = read - start
        if n == 0 or (n == 1 and path[start] == c"."):
            continue
        if n == 2 and path[start] == c"." and path[start + 1] == c".":
            while write > 0:
                write -= 1
                if path[write] == c"/":
                    break
            continue
        path[write] = c"/"
        write += 1
        while n > 0:
            path[write] = path[start]
            write += 1
            start += 1
            n -= 1
    if write == 0 or trailing:
        path[write] = c"/"
        write += 1
    return write


cdef Py_ssize_t decode_for_routing(Span path, char* out) noexcept nogil:
    """Decode all but reserved characters and control bytes, for `Path` and similar matchers of the rule language."""
    cdef const char* ptr = path.ptr
    cdef const char* end = path.ptr + path.len
    cdef char* start = out
    cdef int byte
    while ptr < end:
        if ptr[0] == c"%":
            byte = hex_byte(ptr, end)
            if byte >= 0x20 and byte != 0x7F and not CLASS[byte] & RESERVED:
                out[0] = <char>byte
                out += 1
                ptr += 3
                continue
        out[0] = ptr[0]
        out += 1
        ptr += 1
    return out - start


cdef int decode_route_path(Span path, Arena* arena, Span* route_path) noexcept nogil:
    """Set the path that rules match, from a path in normal form. Returns 0, or 500 without memory."""
    cdef char* out
    route_path[0] = path
    if path.len and memchr(path.ptr, c"%", path.len) != NULL:
        out = arena_alloc(arena, path.len)
        if out == NULL:
            return 500
        route_path[0] = span_of(out, decode_for_routing(path, out))
    return 0


cdef int read_query(const PathOptions* options, Span raw, Arena* arena, Span* query) noexcept nogil:
    """Check a query, write its semicolons as Traefik does, and encode bytes that are not ASCII. Returns 0, 400, or 500 without memory."""
    cdef Py_ssize_t i, rewritten = 0
    cdef char* out
    cdef char* at
    for i in range(raw.len):
        if raw.ptr[i] == c";" or <uint8_t>raw.ptr[i] >= 0x80:
            rewritten += 1
        elif raw.ptr[i] == c"#" or <uint8_t>raw.ptr[i] <= 0x20 or raw.ptr[i] == 0x7F:
            return 400
    query[0] = raw
    if rewritten == 0:
        return 0
    out = arena_alloc(arena, raw.len + 2 * rewritten)
    if out == NULL:
        return 500
    at = out
    for i in range(raw.len):
        if <uint8_t>raw.ptr[i] >= 0x80 or (raw.ptr[i] == c";" and options.encode_semicolons):
            at = put_encoded(at, <uint8_t>raw.ptr[i])
        else:
            at[0] = c"&" if raw.ptr[i] == c";" else raw.ptr[i]
            at += 1
    query[0] = span_of(out, at - out)
    return 0


cdef int path_normalise(const PathOptions* options, Span target, Arena* arena, Span* path, Span* route_path,
                        Span* query, bint* has_query) noexcept nogil:
    """Split a target into path and query and normalise both.

    target      starts with `/` or `?`, or is empty (an absolute-form target without a path: `/`).
    path        forwarded to servers; a part of `target` if that is normal already, else in the arena.
    route_path  matched by rules.
    Returns     0, or the status to refuse with: 400 for bytes that no target may contain, broken `%XX` and refused characters.
    Cost        O(length); one scan and no copy for a path in normal form.
    """
    cdef const char* mark = NULL
    cdef Span raw = target
    cdef char* out
    cdef Py_ssize_t length = 0
    cdef int status
    if target.len:
        mark = <const char*>memchr(target.ptr, c"?", target.len)
    has_query[0] = mark != NULL
    query[0] = span_of(NULL, 0)
    if mark != NULL:
        raw.len = mark - target.ptr
        status = read_query(options, span_of(mark + 1, target.len - raw.len - 1), arena, query)
        if status:
            return status
    if is_normal(raw):
        path[0] = raw
        route_path[0] = raw
        return 0
    out = arena_alloc(arena, 3 * raw.len + 2)
    if out == NULL:
        return 500
    status = recode(options, raw, out, &length)
    if status:
        return status
    if options.sanitise or length == 0:
        length = resolve_segments(out, length)
    path[0] = span_of(out, length)
    return decode_route_path(path[0], arena, route_path)


def quote_path(path: str) -> bytes:
    """A configured path as a request may have it: percent-encoded, where it is not so already."""
    return quote(path, safe="/%:@!$&'()*+,;=~-._").encode()


def normalise(target: bytes, *, sanitise: bool = True, encode_semicolons: bool = False, refused: int = 0) -> tuple:
    """`(path, route_path, query or None)` of a request target. Raises ValueError for a target that is answered with 400."""
    cdef PathOptions options
    cdef Arena arena
    cdef Span path, route_path, query
    cdef bint has_query
    cdef int status
    options.sanitise = sanitise
    options.encode_semicolons = encode_semicolons
    options.refused = refused
    arena.base = NULL
    arena.used = 0
    arena.more = NULL
    status = path_normalise(&options, span_of(target, len(target)), &arena, &path, &route_path, &query, &has_query)
    try:
        if status:
            raise ValueError(f"bad request target {target!r}")
        return (path.ptr[:path.len], route_path.ptr[:route_path.len],
                (query.ptr[:query.len] if query.len else b"") if has_query else None)
    finally:
        arena_free(&arena)
