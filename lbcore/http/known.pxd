# The header names that have a meaning for lbcore itself, found by length and a case-insensitive comparison.

from libc.stdint cimport uint8_t

from lbcore.http.span cimport Span, ascii_lower, token_ieq


cdef enum HeaderKind:
    H_OTHER = 0
    H_HOST
    H_CONTENT_LENGTH
    H_TRANSFER_ENCODING
    H_EXPECT
    H_CONNECTION               # from here to H_PROXY_AUTHORIZATION: hop-by-hop, never forwarded unchanged
    H_KEEP_ALIVE
    H_PROXY_CONNECTION
    H_TE
    H_TRAILER
    H_UPGRADE
    H_HTTP2_SETTINGS           # of an upgrade to h2c, which no server is asked for
    H_PROXY_AUTHENTICATE
    H_PROXY_AUTHORIZATION
    H_X_REAL_IP                # from here on: managed, which clients that are not trusted must not set
    H_X_FORWARDED_FOR
    H_X_FORWARDED_HOST
    H_X_FORWARDED_PORT
    H_X_FORWARDED_PROTO
    H_X_FORWARDED_SERVER
    H_X_FORWARDED_OTHER        # Uri, Method, Prefix, Tls-Client-Cert, Tls-Client-Cert-Info; Forwarded (RFC 7239)
    H_DROPPED                  # removed by a middleware, by `Connection` or by a policy
    H_DATE                     # answers only
    H_FOLDED                   # no header: a folded line (RFC 9112 section 5.2), until it is joined or refused
    H_OWN = 0x80               # bit: set by a middleware, so it is forwarded whether or not the client is trusted


cdef inline bint is_hop_by_hop(uint8_t kind) noexcept nogil:
    return H_CONNECTION <= kind <= H_PROXY_AUTHORIZATION


cdef inline bint is_of_http1(uint8_t kind) noexcept nogil:
    """Whether a header concerns a connection of HTTP/1, so that no message of HTTP/2 or HTTP/3 has it (RFC 9113 section 8.2.2). Te may
    stand there, for trailers alone."""
    return is_hop_by_hop(kind) and kind != H_TRAILER and kind != H_PROXY_AUTHENTICATE and kind != H_PROXY_AUTHORIZATION \
        or kind == H_TRANSFER_ENCODING


cdef inline bint is_managed(uint8_t kind) noexcept nogil:
    return H_X_REAL_IP <= kind <= H_X_FORWARDED_OTHER


cdef inline bint name_is(Span name, const char* lower) noexcept nogil:
    """Compare with a lower-case name of the same length, ignoring case."""
    return token_ieq(name.ptr, lower, name.len)


cdef inline bint alias_is(Span name, const char* lower) noexcept nogil:
    """`name_is`, but every byte except letters and digits counts as a dash.

    Servers that map header names to variables cannot distinguish these, so a client must not set a managed header by an alias of its
    name (`X_Forwarded_For`, `X.Forwarded.For`). Not for headers that frame a message: there the two are different headers.
    """
    cdef Py_ssize_t i
    cdef char c
    for i in range(name.len):
        c = ascii_lower(name.ptr[i])
        if c != lower[i] and (lower[i] != c"-" or c"a" <= c <= c"z" or c"0" <= c <= c"9"):
            return False
    return True


cdef inline uint8_t forwarded_kind(Span name) noexcept nogil:
    """The kind of a name that begins with `x` and has the length of a managed name."""
    if name.len == 9:
        return H_X_REAL_IP if alias_is(name, b"x-real-ip") else H_OTHER
    if name.len == 15:
        if alias_is(name, b"x-forwarded-for"):
            return H_X_FORWARDED_FOR
        return H_X_FORWARDED_OTHER if alias_is(name, b"x-forwarded-uri") else H_OTHER
    if name.len == 16:
        if alias_is(name, b"x-forwarded-host"):
            return H_X_FORWARDED_HOST
        return H_X_FORWARDED_PORT if alias_is(name, b"x-forwarded-port") else H_OTHER
    if name.len == 17:
        return H_X_FORWARDED_PROTO if alias_is(name, b"x-forwarded-proto") else H_OTHER
    if name.len == 18:
        if alias_is(name, b"x-forwarded-server"):
            return H_X_FORWARDED_SERVER
        if alias_is(name, b"x-forwarded-method") or alias_is(name, b"x-forwarded-prefix"):
            return H_X_FORWARDED_OTHER
        return H_OTHER
    if name.len == 27:
        return H_X_FORWARDED_OTHER if alias_is(name, b"x-forwarded-tls-client-cert") else H_OTHER
    if name.len == 32:
        return H_X_FORWARDED_OTHER if alias_is(name, b"x-forwarded-tls-client-cert-info") else H_OTHER
    return H_OTHER


cdef inline uint8_t header_kind(Span name) noexcept nogil:
    """The kind of a header name. O(length); for most names, the length and the first letter decide."""
    cdef char first = ascii_lower(name.ptr[0])
    if first == c"x":
        return forwarded_kind(name)
    if name.len == 2:
        return H_TE if name_is(name, b"te") else H_OTHER
    if name.len == 4:
        if first == c"h" and name_is(name, b"host"):
            return H_HOST
        return H_DATE if first == c"d" and name_is(name, b"date") else H_OTHER
    if name.len == 6:
        return H_EXPECT if first == c"e" and name_is(name, b"expect") else H_OTHER
    if name.len == 7:
        if first == c"u" and name_is(name, b"upgrade"):
            return H_UPGRADE
        return H_TRAILER if first == c"t" and name_is(name, b"trailer") else H_OTHER
    if name.len == 9:
        return H_X_FORWARDED_OTHER if first == c"f" and name_is(name, b"forwarded") else H_OTHER
    if name.len == 10:
        if first == c"c" and name_is(name, b"connection"):
            return H_CONNECTION
        return H_KEEP_ALIVE if first == c"k" and name_is(name, b"keep-alive") else H_OTHER
    if name.len == 14:
        if first == c"c" and name_is(name, b"content-length"):
            return H_CONTENT_LENGTH
        return H_HTTP2_SETTINGS if first == c"h" and name_is(name, b"http2-settings") else H_OTHER
    if name.len == 16:
        return H_PROXY_CONNECTION if first == c"p" and name_is(name, b"proxy-connection") else H_OTHER
    if name.len == 17:
        return H_TRANSFER_ENCODING if first == c"t" and name_is(name, b"transfer-encoding") else H_OTHER
    if name.len == 18:
        return H_PROXY_AUTHENTICATE if first == c"p" and name_is(name, b"proxy-authenticate") else H_OTHER
    if name.len == 19:
        return H_PROXY_AUTHORIZATION if first == c"p" and name_is(name, b"proxy-authorization") else H_OTHER
    return H_OTHER
