"""encodedCharacters: refuse paths with encoded characters that servers may read in different ways. No I/O."""

cimport cython
from libc.string cimport memchr, memset

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span
from lbcore.middleware.base cimport ANSWER, PASS, Context, Middleware

CHARACTERS = {
    "allow_encoded_slash": b"/",
    "allow_encoded_back_slash": b"\\",
    "allow_encoded_null_character": b"\0",
    "allow_encoded_semicolon": b";",
    "allow_encoded_percent": b"%",
    "allow_encoded_question_mark": b"?",
    "allow_encoded_hash": b"#",
}


cdef inline int digit(char c) noexcept nogil:
    """The value of a hexadecimal digit; 16 = it is none."""
    if c"0" <= c <= c"9":
        return c - c"0"
    c |= 0x20
    return c - c"a" + 10 if c"a" <= c <= c"f" else 16


@cython.final
cdef class EncodedCharacters(Middleware):
    """The `encodedCharacters` middleware of Traefik: all of these are refused unless an option allows them."""

    cdef bint refused[256]             # by byte

    def __init__(self, str name, config):
        self.name = name
        memset(self.refused, 0, sizeof(self.refused))
        for option, character in CHARACTERS.items():
            self.refused[<unsigned char>(<bytes>character)[0]] = not getattr(config, option)

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        if self.refuses(request.head.path):
            answer.status = 400
            return ANSWER
        return PASS

    cdef bint refuses(self, Span path) noexcept:
        """Whether a path has such a character, or a broken escape. O(length)."""
        cdef const char* at = path.ptr
        cdef const char* end = path.ptr + path.len
        cdef int high, low
        while at < end:
            at = <const char*>memchr(at, c"%", end - at)
            if at == NULL:
                return False
            if end - at < 3:
                return True
            high, low = digit(at[1]), digit(at[2])
            if high > 15 or low > 15 or self.refused[high << 4 | low]:
                return True
            at += 3
        return False
