"""headers: set or remove headers in both directions, answer CORS preflight requests, set security headers. No I/O."""

cimport cython
from libc.string cimport memcpy

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_bytes, span_eq, span_of
from lbcore.middleware.base cimport ANSWER, PASS, Context, Middleware
from lbcore.middleware.told cimport find_told
from lbcore.regex.regex cimport Regex

from lbcore.config.middlewares.headers import OF_CONNECTIONS

TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

cdef bytes BAD_HOST = b"Bad Host\n"
cdef bytes ALLOW_HEADERS = b"Access-Control-Allow-Headers"
cdef bytes ALLOW_METHODS = b"Access-Control-Allow-Methods"
cdef bytes ALLOW_ORIGIN = b"Access-Control-Allow-Origin"


cdef class Line:
    """A header to set; an empty value takes it out."""

    cdef bytes name_bytes
    cdef bytes lower_bytes
    cdef bytes value_bytes
    cdef Span name
    cdef Span lower
    cdef Span value

    def __init__(self, str name, str value):
        self.name_bytes = name.encode()
        # A text over several lines becomes one line, as in Traefik.
        self.value_bytes = value.replace("\r", " ").replace("\n", " ").strip().encode()
        if not self.name_bytes or not TOKEN.issuperset(self.name_bytes):
            raise ValueError(f"{name!r} is not the name of a header")
        if any(byte < 32 and byte != 9 or byte == 127 for byte in self.value_bytes):
            raise ValueError(f"control characters in the value of {name}")
        self.lower_bytes = self.name_bytes.lower()
        self.name = span_of(self.name_bytes, len(self.name_bytes))
        self.lower = span_of(self.lower_bytes, len(self.lower_bytes))
        self.value = span_of(self.value_bytes, len(self.value_bytes))


def lines_of(headers: dict) -> list:
    """Lines to set, without headers of the connection, of which `config` warns."""
    return [Line(name, value) for name, value in headers.items() if name.lower() not in OF_CONNECTIONS]


def security_lines(config) -> list:
    """The answer headers that the security options stand for."""
    found = {}
    if config.frame_deny:
        found["X-Frame-Options"] = "DENY"
    if config.custom_frame_options_value:
        found["X-Frame-Options"] = config.custom_frame_options_value
    if config.content_type_nosniff:
        found["X-Content-Type-Options"] = "nosniff"
    if config.browser_xss_filter:
        found["X-XSS-Protection"] = "1; mode=block"
    if config.custom_browser_xss_value:
        found["X-XSS-Protection"] = config.custom_browser_xss_value
    if config.content_security_policy:
        found["Content-Security-Policy"] = config.content_security_policy
    if config.content_security_policy_report_only:
        found["Content-Security-Policy-Report-Only"] = config.content_security_policy_report_only
    if config.referrer_policy:
        found["Referrer-Policy"] = config.referrer_policy
    if config.permissions_policy:
        found["Permissions-Policy"] = config.permissions_policy
    return lines_of(found)


def pinned_keys(config) -> list:
    """Public-Key-Pins, if it is asked for."""
    return lines_of({"Public-Key-Pins": config.public_key}) if config.public_key and not config.is_development else []


def transport_security(config) -> list:
    """Strict-Transport-Security, if it is asked for."""
    if not config.sts_seconds or config.is_development:
        return []
    value = f"max-age={config.sts_seconds}"
    if config.sts_include_subdomains:
        value += "; includeSubDomains"
    if config.sts_preload:
        value += "; preload"
    return lines_of({"Strict-Transport-Security": value})


cdef int set_line(Response response, Line line) except -1:
    response.drop(line.lower.ptr, line.lower.len)
    if line.value.len:
        response.append(line.name, line.value)
    return 0


cdef int repeat(Response response, bytes name, Span value) except -1:
    """Add a header with a value of the request, which is copied. The name is a constant."""
    cdef char* copy = response.alloc(value.len + 1)
    memcpy(copy, value.ptr, value.len)
    return response.append(span_of(name, len(name)), span_of(copy, value.len))


@cython.final
cdef class Headers(Middleware):
    """The `headers` middleware of Traefik (see `config.dynamic.Headers`)."""

    cdef list request_lines
    cdef list response_lines
    cdef list security
    cdef list encrypted                # Lines of answers to clients that came over TLS
    cdef frozenset hosts               # lower case; empty = any
    cdef list hosts_headers            # lower-case names that may hold the host, the first that is there wins
    cdef list encrypted_headers        # (lower-case name, value): what says that the client came over TLS
    cdef bint cross_origin             # some accessControl option is set, or addVaryHeader
    cdef bint answers_preflight        # one that says who may ask, and what for: to preflights the server is not asked
    cdef bint any_header               # with credentials, all headers that the browser asks for are allowed
    cdef bint any_method               # likewise
    cdef bint any_origin
    cdef bint with_credentials         # browsers take no `*` then: the origin that asks is named
    cdef frozenset origins
    cdef list origin_regexes
    cdef bint vary
    cdef list always                   # Lines of every cross-origin answer
    cdef list preflight                # Lines of the answer to a preflight

    def __init__(self, str name, config):
        self.name = name
        self.request_lines = lines_of(config.custom_request_headers)
        self.response_lines = lines_of(config.custom_response_headers)
        self.security = security_lines(config)
        self.encrypted = pinned_keys(config)
        if config.force_sts_header:
            self.security += transport_security(config)
        else:
            self.encrypted += transport_security(config)
        self.hosts = frozenset() if config.is_development else frozenset(
            host.lower().encode() for host in config.allowed_hosts)
        self.hosts_headers = [header.lower().encode() for header in config.hosts_proxy_headers]
        self.encrypted_headers = [
            (header.lower().encode(), value.encode()) for header, value in config.ssl_proxy_headers.items()]
        self.origins = frozenset(origin.encode() for origin in config.access_control_allow_origin_list)
        self.any_origin = b"*" in self.origins
        self.with_credentials = config.access_control_allow_credentials
        self.origin_regexes = [Regex(pattern) for pattern in config.access_control_allow_origin_list_regex]
        self.vary = config.add_vary_header
        always = {}
        if config.access_control_allow_credentials:
            always["Access-Control-Allow-Credentials"] = "true"
        preflight = dict(always)
        # With credentials, browsers take "*" for a name: what they ask for is told in its place.
        self.any_header = self.with_credentials and "*" in config.access_control_allow_headers
        self.any_method = self.with_credentials and "*" in config.access_control_allow_methods
        if config.access_control_allow_headers and not self.any_header:
            preflight["Access-Control-Allow-Headers"] = ",".join(config.access_control_allow_headers)
        if config.access_control_allow_methods and not self.any_method:
            preflight["Access-Control-Allow-Methods"] = ",".join(config.access_control_allow_methods)
        if config.access_control_max_age is not None:
            preflight["Access-Control-Max-Age"] = str(config.access_control_max_age)
        self.answers_preflight = bool(
            preflight or self.any_header or self.any_method or self.origins or self.origin_regexes)
        if config.access_control_expose_headers and not (self.with_credentials and "*" in config.access_control_expose_headers):
            always["Access-Control-Expose-Headers"] = preflight["Access-Control-Expose-Headers"] = ",".join(
                config.access_control_expose_headers)
        self.cross_origin = self.answers_preflight or self.vary or bool(always)
        self.always = lines_of(always)
        self.preflight = lines_of(preflight)
        self.sees_answer = bool(self.response_lines or self.security or self.encrypted or self.cross_origin)

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef Span origin, asked
        cdef Line line
        if self.answers_preflight and span_eq(request.head.method, b"OPTIONS", 7):
            origin = request.find(b"origin", 6)
            asked = request.find(b"access-control-request-method", 29)
            if origin.len and asked.len:
                answer.status = 200
                for item in self.preflight:
                    line = <Line>item
                    answer.append(line.name, line.value)
                if self.any_method:
                    repeat(answer, ALLOW_METHODS, asked)
                asked = request.find(b"access-control-request-headers", 30)
                if self.any_header and asked.len:
                    repeat(answer, ALLOW_HEADERS, asked)
                self.allow(answer, origin)
                return ANSWER
        for item in self.request_lines:
            line = <Line>item
            request.set_header(line.name, line.lower, line.value)
        if self.hosts and not self.is_allowed(request):
            answer.status = 500
            answer.append(span_of(b"Content-Type", 12), span_of(b"text/plain; charset=utf-8", 25))
            answer.append(span_of(b"X-Content-Type-Options", 22), span_of(b"nosniff", 7))
            answer.text = span_of(BAD_HOST, len(BAD_HOST))
            self.complete(request, answer)
            return ANSWER
        return PASS

    cdef bint is_allowed(self, Request request) except *:
        """Whether the request is for one of `allowedHosts`, by its Host or by what a proxy in front says."""
        cdef Span found
        for name in self.hosts_headers:
            found = find_told(request, <bytes>name, len(<bytes>name))
            if found.len > 0:
                return span_bytes(found).lower() in self.hosts
        return span_bytes(request.present_host()).lower() in self.hosts

    cdef bint is_encrypted(self, Request request) except *:
        """Whether the client came over TLS, to us or to a proxy in front."""
        cdef Span found
        if request.head.encrypted:
            return True
        for name, value in self.encrypted_headers:
            found = find_told(request, <bytes>name, len(<bytes>name))
            if found.ptr != NULL and span_bytes(found) == value:
                return True
        return False

    cdef int on_response(self, Request request, Response response, Context context) except -1:
        for item in self.security:
            set_line(response, <Line>item)
        if self.encrypted and self.is_encrypted(request):
            for item in self.encrypted:
                set_line(response, <Line>item)
        return self.complete(request, response)

    cdef int complete(self, Request request, Response response) except -1:
        """Set what all answers have but those to preflights: what the configuration names, and what tells browsers who may read it."""
        cdef Span origin
        for item in self.response_lines:
            set_line(response, <Line>item)
        if self.cross_origin:
            origin = request.find(b"origin", 6)
            self.allow(response, origin)
            if self.vary and not response.lists(b"vary", 4, span_of(b"origin", 6)):
                response.append(span_of(b"Vary", 4), span_of(b"Origin", 6))
            for item in self.always:
                set_line(response, <Line>item)
        return 0

    cdef int allow(self, Response response, Span origin) except -1:
        """Say that this origin may, if it may: in place of what the server has said."""
        if self.any_origin and not self.with_credentials:
            response.drop(b"access-control-allow-origin", 27)
            response.append(span_of(ALLOW_ORIGIN, len(ALLOW_ORIGIN)), span_of(b"*", 1))
        elif origin.len and (self.any_origin or self.allows(origin)):
            response.drop(b"access-control-allow-origin", 27)
            repeat(response, ALLOW_ORIGIN, origin)
        return 0

    cdef bint allows(self, Span origin) except *:
        if span_bytes(origin) in self.origins:
            return True
        for regex in self.origin_regexes:
            if (<Regex>regex).search(origin):
                return True
        return False
