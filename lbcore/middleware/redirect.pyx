"""redirectScheme, redirectRegex and requestRedirect: answer with another address. No I/O.

GET is answered with 302 (301 when permanent), every other method with 307 (308), so that it stays what it is; by
requestRedirect, an extension, with the status that it names.
"""

import re

cimport cython
from libc.string cimport memcpy

from lbcore.http.head cimport RequestHead
from lbcore.http.render cimport status_text
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_bytes, span_eq, span_ieq, span_of
from lbcore.middleware.base cimport ANSWER, PASS, Context, Middleware
from lbcore.middleware.paths cimport Replacement
from lbcore.regex.regex cimport Regex

from lbcore.middleware.paths import percent

DEFAULT_PORTS = {"http": "80", "https": "443"}


def in_ascii(text: bytes) -> bytes:
    """Percent-encode what is not ASCII."""
    return text if text.isascii() else b"".join(b"%c" % byte if byte < 0x80 else b"%%%02X" % byte for byte in text)


cdef object REFUSED = re.compile(rb"[^-._~!$&'()*+,;=:@/%\[\]0-9A-Za-z]")     # by paths and fragments
cdef object PARTS = re.compile(rb"((?:[A-Za-z][A-Za-z0-9+.-]*:)?(?://[^/?#]*)?)([^?#]*)((?:\?[^#]*)?#?)(.*)", re.DOTALL)


def in_uri(location: bytes) -> bytes:
    """An address with what no path and no fragment holds percent-encoded. The query stays as it is."""
    start, path, query, fragment = PARTS.fullmatch(location).groups()
    return start + REFUSED.sub(percent, path) + query + REFUSED.sub(percent, fragment)


cdef object SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:")
cdef object AUTHORITY = re.compile(rb"""//
    (?: [-._~!$&'()*+,;=:%@0-9A-Za-z]* @ )?                                 # a user
    (?: \[ [0-9A-Fa-f:.]+ (?: %25 [-._~%0-9A-Za-z]+ )? \]
      | (?: [-._~!$&'()*+,;=<>"0-9A-Za-z\x80-\xff] | %[89A-Fa-f][0-9A-Fa-f] )* )
    (?: : [0-9]* )? (?= / | $ )""", re.VERBOSE)
cdef object BROKEN = re.compile(rb"%(?![0-9A-Fa-f]{2})")
cdef object CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


def is_address(location: bytes) -> bool:
    """Whether a text is an address, or a reference to one, that clients can read: what Go's parser accepts. Its query may be anything."""
    rest, _, fragment = location.partition(b"#")
    rest = rest.partition(b"?")[0]
    if CONTROL.search(location) or BROKEN.search(fragment) or rest.startswith(b":"):
        return False
    scheme = SCHEME.match(rest)
    if scheme:
        rest = rest[scheme.end():]
    if not rest.startswith(b"/"):
        return scheme is not None or b":" not in rest.partition(b"/")[0] and not BROKEN.search(rest)
    if rest.startswith(b"//") and (scheme or not rest.startswith(b"///")):
        authority = AUTHORITY.match(rest)
        if authority is None:
            return False
        rest = rest[authority.end():]
    return not BROKEN.search(rest)


cdef bytes request_uri(RequestHead* head):
    """The path as middlewares have left it, and the query as the client sent it: `;` becomes `&` for servers alone, but `%3B`
    (`encodeQuerySemicolons`) for all."""
    path, mark, query = span_bytes(head.target).partition(b"?")
    query = in_ascii(query)
    if b";" in query and span_bytes(head.query) == query.replace(b";", b"%3B"):
        query = span_bytes(head.query)
    return span_bytes(head.path) + mark + query


cdef bint came_encrypted(Request request) noexcept:
    """Whether the client came over TLS, to us or to a proxy in front, which says so in X-Forwarded-Proto."""
    cdef Span told = request.find(b"x-forwarded-proto", 17)
    if span_ieq(told, b"https", 5) or span_ieq(told, b"wss", 3):
        return True
    return request.head.encrypted and not (span_ieq(told, b"http", 4) or span_ieq(told, b"ws", 2))


cdef int redirect(Request request, Response answer, bytes location, bint permanent) except -1:
    cdef char* copy = answer.alloc(len(location) + 1)
    cdef Span text
    memcpy(copy, <const char*>location, len(location))
    if span_eq(request.head.method, b"GET", 3):
        answer.status = 301 if permanent else 302
    else:
        answer.status = 308 if permanent else 307
    answer.append(span_of(b"Location", 8), span_of(copy, len(location)))
    answer.text = status_text(answer.status)
    return ANSWER


cdef bint is_safe(bytes location) noexcept:
    """No byte that would end a header."""
    return b"\r" not in location and b"\n" not in location and b"\0" not in location


@cython.final
cdef class RedirectScheme(Middleware):
    """The address that the client asked for, with another scheme and port; a request that has both already passes.

    A trusted X-Forwarded-Proto, or one that a middleware has set, says how the client came; a port that is the scheme's
    own counts as none.
    """

    cdef bytes scheme
    cdef bytes port            # with its colon; empty when it is the scheme's own
    cdef bint permanent

    def __init__(self, str name, config):
        self.name = name
        if not config.scheme:
            raise ValueError("you must provide a target scheme")
        self.scheme = config.scheme.lower().encode()
        port = "" if config.port == DEFAULT_PORTS.get(config.scheme.lower()) else config.port
        if port and not (port.isascii() and port.isdigit()):
            raise ValueError(f"{port!r} is not a port")
        self.port = f":{port}".encode() if port else b""
        self.permanent = config.permanent

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef RequestHead* head = &request.head
        authority = span_bytes(request.present_host())
        host, colon, port = authority.rpartition(b":")
        if not colon or not port.isdigit():
            host, port = authority.removesuffix(b":"), b""
        scheme = b"https" if came_encrypted(request) else b"http"
        if port and port != (b"443" if scheme == b"https" else b"80"):
            colon += port
        else:
            colon = b""
        if scheme == self.scheme and colon == self.port:
            return PASS
        return redirect(request, answer, self.scheme + b"://" + host + self.port + request_uri(head), self.permanent)


@cython.final
cdef class RedirectRegex(Middleware):
    """The whole address, `http://host/path?query`, with every match of `regex` replaced by `replacement`."""

    cdef Regex regex
    cdef list template
    cdef bint permanent

    def __init__(self, str name, config):
        self.name = name
        self.regex = Regex(config.regex)
        self.template = self.regex.parse_template(config.replacement)
        self.permanent = config.permanent

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef RequestHead* head = &request.head
        address = (b"https" if head.encrypted else b"http") + b"://" + span_bytes(request.present_host()) + request_uri(head)
        if not self.regex.search(span_of(address, len(address))):
            return PASS
        location = self.regex.replace_all(address, self.template)
        if location == address:
            return PASS
        if not is_address(location):           # the configuration is at fault, and no client could go there
            answer.status = 502
            answer.text = status_text(502)
            return ANSWER
        return redirect(request, answer, in_uri(location), self.permanent)


@cython.final
cdef class RequestRedirect(Middleware):
    """Another address (extension): parts of it are given, the others are those of the request.

    A port that is the scheme's own is left out. Without a port, a given scheme has its own.
    """

    cdef bytes scheme              # empty: that of the request
    cdef bytes host                # empty: that of the request
    cdef bytes port                # empty: see above
    cdef object paths              # a Replacement; None = the path stays
    cdef int status

    def __init__(self, str name, config):
        self.name = name
        self.scheme = config.scheme.encode()
        self.host = config.hostname.encode()
        self.port = str(config.port).encode() if config.port else b""
        self.paths = None if config.path is None else Replacement(config.path, config.path_prefix)
        self.status = config.status_code or 302

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef RequestHead* head = &request.head
        cdef char* copy
        authority = span_bytes(request.present_host())
        host, colon, port = authority.rpartition(b":")
        if not colon or not port.isdigit():
            host, port = authority.removesuffix(b":"), b""
        scheme = self.scheme or (b"https" if came_encrypted(request) else b"http")
        if self.port or self.scheme:
            port = self.port
        if port == DEFAULT_PORTS[scheme.decode()].encode():
            port = b""
        location = scheme + b"://" + (self.host or host) + (b":" + port if port else b"")
        path, mark, query = request_uri(head).partition(b"?")
        if self.paths is not None:
            path = (<Replacement>self.paths).of(path)
        location += path + mark + query
        if not is_safe(location):
            return PASS
        copy = answer.alloc(len(location) + 1)
        memcpy(copy, <const char*>location, len(location))
        answer.status = self.status
        answer.append(span_of(b"Location", 8), span_of(copy, len(location)))
        answer.text = status_text(answer.status)
        return ANSWER
