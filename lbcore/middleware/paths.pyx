"""addPrefix, stripPrefix, stripPrefixRegex, replacePath, replacePathRegex, urlRewrite: what path the server is asked for. No I/O.

Paths are worked on in their one normal form (`http.path`), and what comes out is in normal form again or answered with 400:
taking a prefix off `/api../x` must not give `/../x`.
"""

import re

cimport cython
from libc.string cimport memcmp, memcpy

from lbcore.http.path cimport decode_route_path
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_bytes, span_of
from lbcore.http.utf8 cimport is_utf8
from lbcore.middleware.base cimport ANSWER, PASS, Context, Middleware
from lbcore.regex.regex cimport Regex

from lbcore.http.path import normalise, quote_path


def encoded(path: str) -> bytes:
    """A configured path as it stands in a request: percent-encoded, dots resolved. Raises ValueError."""
    if not path:
        return b""
    return normalise(quote_path(path if path.startswith("/") else "/" + path))[0]


cdef bint is_normal(Span path) noexcept nogil:
    """Whether a path begins with a slash and has no empty, `.` or `..` segment before its last."""
    cdef Py_ssize_t i, start = 1, length
    if path.len == 0 or path.ptr[0] != c"/":
        return False
    for i in range(1, path.len + 1):
        if i == path.len or path.ptr[i] == c"/":
            length = i - start
            if length == 0 and i < path.len:
                return False
            if (length == 1 or length == 2) and path.ptr[start] == c"." and path.ptr[i - 1] == c".":
                return False
            start = i + 1
    return True


cdef int refuse(Response answer, int status=400, bytes text=b"Bad Request\n") except -1:
    """Answer with a text that is a constant."""
    answer.clear()
    answer.status = status
    answer.append(span_of(b"Content-Type", 12), span_of(b"text/plain; charset=utf-8", 25))
    answer.append(span_of(b"X-Content-Type-Options", 22), span_of(b"nosniff", 7))
    answer.text = span_of(text, len(text))
    return ANSWER


# The path that is left when all of one was removed. Servers are asked for a slash, but what is put in front of it, or in its place, is about
# an empty path.
cdef char[1] NOTHING
NOTHING[0] = c"/"


cdef Span bare(Span path) noexcept nogil:
    return span_of(path.ptr, 0) if path.ptr == NOTHING else path


cdef int keep_header(Request request, const char* name, Py_ssize_t length, Span value) except -1:
    """Add a header that says what was done to the path, beside what a trusted client has sent."""
    cdef char* copy = request.alloc(value.len + 1)
    memcpy(copy, value.ptr, value.len)
    request.add_own(span_of(name, length), span_of(copy, value.len))
    return 0


def percent(found) -> bytes:
    """The byte that an expression has found, percent-encoded."""
    return b"%%%02X" % ord(found[0])


cdef object NEVER_RAW = re.compile(rb"[\x00- #?\x7f]")     # in a path

cdef bytes NO_PATH = b"Internal Server Error\n"


cdef int put_path(Request request, bytes path, Response answer) except -1:
    """Make `path` the request's. Returns a Verdict: ANSWER when it is refused.

    What the configuration has put into it is encoded where it has to be; a percent sign without its digits makes it no path at all, which
    is no fault of the client. Its dots are not resolved: `/files/$1` for `^/api(.*)` would lead out of `/files` by `/api../x`.
    """
    cdef char* copy
    if not path.startswith(b"/"):
        path = b"/" + path
    try:
        path = normalise(NEVER_RAW.sub(percent, path), sanitise=False)[0]
    except ValueError:
        return refuse(answer, 500, NO_PATH)
    if not is_normal(span_of(path, len(path))):
        return refuse(answer)
    copy = request.alloc(len(path))
    memcpy(copy, <const char*>path, len(path))
    request.head.path = span_of(copy, len(path))
    return PASS


@cython.final
cdef class AddPrefix(Middleware):
    """`prefix` in front of the path. A slash at its end stays: the server sees two, as from Traefik."""

    cdef bytes prefix

    def __init__(self, str name, config):
        self.name = name
        if not config.prefix:
            raise ValueError("prefix cannot be empty")
        self.prefix = encoded(config.prefix)
        if self.prefix == b"/":
            self.prefix = b""

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef Span path = bare(request.head.path)
        cdef Py_ssize_t length = len(self.prefix)
        cdef char* copy
        if length == 0:
            return PASS
        copy = request.alloc(length + path.len)
        memcpy(copy, <const char*>self.prefix, length)
        memcpy(copy + length, path.ptr, path.len)
        request.head.path = span_of(copy, length + path.len)
        return PASS


@cython.final
cdef class StripPrefix(Middleware):
    """The first of `prefixes` that fits is removed, and sent to the server as X-Forwarded-Prefix."""

    cdef list prefixes
    cdef list texts

    def __init__(self, str name, config):
        self.name = name
        self.texts = [prefix.encode() for prefix in config.prefixes]
        # Every path begins with a slash: a prefix without one fits none.
        self.prefixes = [encoded(prefix) if prefix.startswith("/") else prefix.encode() for prefix in config.prefixes]

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef Span path = bare(request.head.path)
        cdef bytes prefix, text
        cdef Py_ssize_t length
        for index in range(len(self.prefixes)):
            prefix = <bytes>self.prefixes[index]
            length = len(prefix)
            if path.len >= length and memcmp(path.ptr, <const char*>prefix, length) == 0:
                text = <bytes>self.texts[index]
                keep_header(request, b"X-Forwarded-Prefix", 18, span_of(text, len(text)))
                return strip(request, length, answer)
        return PASS


cdef int strip(Request request, Py_ssize_t length, Response answer) except -1:
    """Take `length` bytes off the path; what is left begins with a slash. Returns a Verdict: ANSWER when it is refused."""
    cdef Span rest = span_of(request.head.path.ptr + length, request.head.path.len - length)
    cdef char* copy
    if rest.len == 0:
        request.head.path = span_of(NOTHING, 1)
        return PASS
    if rest.ptr[0] != c"/":
        copy = request.alloc(rest.len + 1)
        copy[0] = c"/"
        memcpy(copy + 1, rest.ptr, rest.len)
        rest = span_of(copy, rest.len + 1)
    if not is_normal(rest):
        return refuse(answer)
    request.head.path = rest
    return PASS


@cython.final
cdef class StripPrefixRegex(Middleware):
    """What the first of the expressions finds at the beginning of the path is taken off. They are about the path that rules see."""

    cdef list regexes

    def __init__(self, str name, config):
        self.name = name
        self.regexes = [Regex(pattern.strip()) for pattern in config.regex]

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef Span found[1]
        cdef Span path = bare(request.head.path), text
        cdef Py_ssize_t length
        if decode_route_path(path, &request.arena, &text):
            raise MemoryError
        if not is_utf8(text.ptr, text.len):
            text = path                        # whose `%FF` an expression may fit, and RE2 fits no such byte
        for regex in self.regexes:
            if (<Regex>regex).match_from(text, 0, found, 1) and found[0].len and found[0].ptr == text.ptr:
                length = raw_length(path, found[0])
                if length < 0:
                    continue
                keep_header(request, b"X-Forwarded-Prefix", 18, span_of(path.ptr, length))
                return strip(request, length, answer)
        return PASS


cdef Py_ssize_t raw_length(Span path, Span decoded) noexcept nogil:
    """How many bytes of a path are those that its beginning was decoded from (`decode_route_path`). -1: it ends within an encoded one."""
    cdef Py_ssize_t i = 0, j = 0
    while j < decoded.len:
        if path.ptr[i] != c"%":
            i += 1
            j += 1
        elif decoded.ptr[j] != c"%":
            i += 3
            j += 1
        else:                                  # it has stayed encoded: a percent sign always does
            i += 3
            j += 3
    return i if j == decoded.len else -1


@cython.final
cdef class ReplacePath(Middleware):
    """`path` in place of the request's, which is sent to the server as X-Replaced-Path."""

    cdef bytes path

    def __init__(self, str name, config):
        self.name = name
        self.path = encoded(config.path) or b"/"

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        keep_header(request, b"X-Replaced-Path", 15, bare(request.head.path))
        request.head.path = span_of(self.path, len(self.path))
        return PASS


@cython.final
cdef class ReplacePathRegex(Middleware):
    """Every match of `regex` in the path is replaced by `replacement`."""

    cdef Regex regex
    cdef list template

    def __init__(self, str name, config):
        self.name = name
        self.regex = Regex(config.regex.strip())
        self.template = self.regex.parse_template(config.replacement)

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef Span path = bare(request.head.path)
        if not self.regex.search(path):
            return PASS
        keep_header(request, b"X-Replaced-Path", 15, path)
        return put_path(request, self.regex.replace_all(span_bytes(path), self.template), answer)


cdef class Replacement:
    """A path in place of another one, or of its beginning. A prefix ends at a slash, or with the path."""

    def __init__(self, str path, prefix):
        self.path = encoded(path)
        self.is_whole = prefix is None
        self.prefix = b"" if prefix is None else encoded(prefix).rstrip(b"/")

    cdef bytes of(self, bytes path):
        """A path in normal form, of one in normal form."""
        cdef bytes rest
        if self.is_whole:
            return self.path or b"/"
        if path != self.prefix and not path.startswith(self.prefix + b"/"):
            return path
        rest = path[len(self.prefix):]
        return self.path.rstrip(b"/") + rest if rest else self.path or b"/"


@cython.final
cdef class UrlRewrite(Middleware):
    """Another path and another host for the server (extension). Servers are not told what they were."""

    cdef bytes host            # empty: it stays
    cdef object paths          # a Replacement; None = the path stays

    def __init__(self, str name, config):
        self.name = name
        self.host = config.hostname.encode()
        self.paths = None if config.path is None else Replacement(config.path, config.path_prefix)
        if self.paths is None and not self.host:
            raise ValueError("needs hostname or path")

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef bytes path
        cdef char* copy
        if self.host:
            request.set_header(span_of(b"Host", 4), span_of(b"host", 4), span_of(self.host, len(self.host)))
        if self.paths is not None:
            path = (<Replacement>self.paths).of(span_bytes(request.head.path))
            copy = request.alloc(len(path))
            memcpy(copy, <const char*>path, len(path))
            request.head.path = span_of(copy, len(path))
        return PASS
