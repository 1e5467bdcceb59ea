"""The value of the `Date` header (RFC 9110 section 5.6.7), formatted once a second. Independent of the locale."""

from libc.stdio cimport snprintf
from libc.time cimport gmtime_r, time_t, tm

from lbcore.http.span cimport Span, span_of

cdef extern from "<time.h>" nogil:
    time_t time(time_t* now)

cdef char text[40]
cdef int text_len = 0
cdef time_t text_at = 0

cdef const char* DAYS = b"SunMonTueWedThuFriSat"
cdef const char* MONTHS = b"JanFebMarAprMayJunJulAugSepOctNovDec"


cdef Span http_date() noexcept nogil:
    """The present time, e.g. `Tue, 24 Nov 2026 09:00:00 GMT`. The span points to static memory, which later calls overwrite."""
    global text_len, text_at
    cdef time_t now = time(NULL)
    cdef tm parts
    if now != text_at:
        gmtime_r(&now, &parts)
        text_len = snprintf(text, 40, b"%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", DAYS + 3 * parts.tm_wday, parts.tm_mday,
                            MONTHS + 3 * parts.tm_mon, parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec)
        text_at = now
    return span_of(text, text_len)
