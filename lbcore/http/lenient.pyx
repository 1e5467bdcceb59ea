"""The repairs that a proxy has to make in the header sections of answers: white space before a colon, folded lines. No I/O.

RFC 9112 section 5.1: a proxy removes white space between a name and its colon from an answer. Section 5.2: a folded line
is continued, with a space in place of its line end. Both are off the hot path: only answers with such lines come here.
"""

from libc.string cimport memchr, memcpy

from lbcore.http.arena cimport Arena, arena_alloc
from lbcore.http.head cimport Header
from lbcore.http.span cimport Span, span_of


cdef inline bint is_blank(char c) noexcept nogil:
    return c == c" " or c == c"\t"


cdef Py_ssize_t blanks_before_colon(const char* line, Py_ssize_t length, Py_ssize_t* colon) noexcept nogil:
    """The number of blanks between a name and its colon, and the colon's position; 0 for a folded line and one without a name."""
    cdef const char* found = <const char*>memchr(line, c":", length)
    cdef Py_ssize_t n = 0
    if found == NULL or is_blank(line[0]):
        return 0
    colon[0] = found - line
    while n < colon[0] and is_blank(line[colon[0] - n - 1]):
        n += 1
    return n if n < colon[0] else 0


cdef int repair_names(const char* data, Py_ssize_t length, bint status_line, Arena* arena, Span* repaired,
                    Py_ssize_t* used) noexcept nogil:
    """Copy a header section that the parser refuses into the arena, without blanks before colons.

    status_line  the first line is not a header.
    repaired       the copy, valid until the arena is reset.
    used         the length of the section in `data`, with its empty line.
    Returns      a RepairResult. O(length).
    """
    cdef Py_ssize_t at = 0, end, cut, colon = 0, total = 0
    cdef const char* found
    cdef char* out
    cdef bint complete = False, headers = not status_line
    while at < length:
        found = <const char*>memchr(data + at, c"\n", length - at)
        end = found - data if found != NULL else length
        if headers:
            total += blanks_before_colon(data + at, end - at, &colon)
            if found == NULL and is_blank(data[length - 1]) and not is_blank(data[at]):
                total += 1     # the colon may not have arrived yet
            if found != NULL and (end == at or (end == at + 1 and data[at] == c"\r")):
                used[0] = end + 1
                complete = True
                break
        headers = True
        at = end + 1
    if total == 0:
        return NOTHING_TO_REPAIR
    if not complete:
        return REPAIR_PARTIAL
    out = arena_alloc(arena, used[0] - total)
    if out == NULL:
        return REPAIR_NO_MEMORY
    repaired[0] = span_of(out, used[0] - total)
    at = 0
    headers = not status_line
    while at < used[0]:
        end = <const char*>memchr(data + at, c"\n", used[0] - at) - data + 1
        cut = blanks_before_colon(data + at, end - at, &colon) if headers else 0
        if cut:
            memcpy(out, data + at, colon - cut)
            out += colon - cut
            at += colon
        memcpy(out, data + at, end - at)
        out += end - at
        at = end
        headers = True
    return REPAIRED


cdef int unfold(Header* headers, Py_ssize_t* count, Arena* arena) noexcept nogil:
    """Join folded lines, which the parser returns as headers without a name, with the header that they continue.

    The joined values are valid until the arena is reset. Returns 0, or -1 without memory or for a folded line without a header.
    """
    cdef Py_ssize_t read = 0, write = 0, last, size, i
    cdef char* out
    cdef Span part, joined
    while read < count[0]:
        if headers[read].name.ptr == NULL:
            return -1
        last = read + 1
        size = headers[read].value.len
        while last < count[0] and headers[last].name.ptr == NULL:
            size += headers[last].value.len + 1
            last += 1
        joined = headers[read].value
        if last > read + 1:
            out = arena_alloc(arena, size + 1)
            if out == NULL:
                return -1
            joined = span_of(out, 0)
            for i in range(read, last):
                part = headers[i].value
                while part.len and is_blank(part.ptr[0]):
                    part.ptr += 1
                    part.len -= 1
                if part.len:
                    if joined.len:
                        out[joined.len] = c" "
                        joined.len += 1
                    memcpy(out + joined.len, part.ptr, part.len)
                    joined.len += part.len
        headers[write].name = headers[read].name
        headers[write].value = joined
        read = last
        write += 1
    count[0] = write
    return 0
