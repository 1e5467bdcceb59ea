"""Text of clients and servers, and times, in lines of the access log. No I/O."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy
from libc.time cimport time_t, tm
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

from lbcore.http.span cimport Span, span_of

cdef extern from "<time.h>" nogil:
    tm* gmtime "gmtime_r"(const time_t* when, tm* parts)

cdef const char* HEX = b"0123456789abcdef"
cdef const char* MONTHS = b"JanFebMarAprMayJunJulAugSepOctNovDec"

cdef char stamp[32]
cdef int stamp_len = 0
cdef time_t stamp_at = 0


cdef Span start_time(uint64_t duration_ns) noexcept nogil:
    """The start of an exchange that ends now, e.g. `24/Nov/2026:09:00:00 +0000`; valid until the next call."""
    global stamp_len, stamp_at
    cdef timespec now
    cdef time_t began
    cdef tm parts
    clock_gettime(CLOCK_REALTIME, &now)
    began = now.tv_sec - <time_t>(duration_ns // 1000000000)
    if now.tv_nsec < <long>(duration_ns % 1000000000):
        began -= 1
    if began != stamp_at:
        # UTC, as the name of the field says.
        gmtime(&began, &parts)
        stamp_len = snprintf(stamp, 32, b"%02d/%.3s/%04d:%02d:%02d:%02d +0000", parts.tm_mday, MONTHS + 3 * parts.tm_mon,
                             parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec)
        stamp_at = began
    return span_of(stamp, stamp_len)


cdef int read_utf8(const unsigned char* at, Py_ssize_t left, uint32_t* point) noexcept nogil:
    """Decode one code point of two to four bytes. Returns its length, or 0 for invalid UTF-8."""
    cdef unsigned char first = at[0]
    cdef int length, i
    cdef uint32_t value, least
    if 0xC2 <= first <= 0xDF:
        length, value, least = 2, first & 0x1F, 0x80
    elif 0xE0 <= first <= 0xEF:
        length, value, least = 3, first & 0x0F, 0x800
    elif 0xF0 <= first <= 0xF4:
        length, value, least = 4, first & 0x07, 0x10000
    else:
        return 0
    if left < length:
        return 0
    for i in range(1, length):
        if at[i] & 0xC0 != 0x80:
            return 0
        value = value << 6 | (at[i] & 0x3F)
    if value < least or value > 0x10FFFF or 0xD800 <= value <= 0xDFFF:
        return 0
    point[0] = value
    return length


cdef inline bint is_shown(uint32_t point) noexcept nogil:
    """Whether a terminal shows a code point: not for control, format, and separator characters other than the space."""
    if point < 0xA1:
        return False
    if point in (0xAD, 0x1680, 0x180E, 0x3000, 0xFEFF) or 0x2000 <= point <= 0x200F or 0x2028 <= point <= 0x202F:
        return False
    if 0x205F <= point <= 0x206F or 0xE000 <= point <= 0xF8FF or 0xFFF0 <= point <= 0xFFFB:
        return False
    return point & 0xFFFE != 0xFFFE and point < 0xE0000


cdef char* put_hex(char* out, char kind, uint32_t value, int digits) noexcept nogil:
    out[0] = c"\\"
    out[1] = kind
    out += 2
    while digits:
        digits -= 1
        out[0] = HEX[value >> (4 * digits) & 15]
        out += 1
    return out


cdef char* put_quoted(char* out, Span span) noexcept nogil:
    """Write text for inside quotes, as Go's `strconv.Quote`: bytes that could end the quotes or the line, that a terminal does not
    show, or that are not UTF-8 are escaped, to at most ESCAPED bytes each."""
    cdef const unsigned char* text = <const unsigned char*>span.ptr
    cdef uint32_t point
    cdef Py_ssize_t i = 0
    cdef int length
    while i < span.len:
        if text[i] == c'"' or text[i] == c"\\":
            out[0] = c"\\"
            out[1] = text[i]
            out += 2
            i += 1
        elif 32 <= text[i] < 127:
            out[0] = text[i]
            out += 1
            i += 1
        elif text[i] == c"\t":
            out[0] = c"\\"
            out[1] = c"t"
            out += 2
            i += 1
        elif text[i] < 128:
            out = put_hex(out, c"x", text[i], 2)
            i += 1
        else:
            length = read_utf8(text + i, span.len - i, &point)
            if length == 0:
                out = put_hex(out, c"x", text[i], 2)
                i += 1
                continue
            if is_shown(point):
                memcpy(out, text + i, length)
                out += length
            elif point < 0x10000:
                out = put_hex(out, c"u", point, 4)
            else:
                out = put_hex(out, c"U", point, 8)
            i += length
    return out
