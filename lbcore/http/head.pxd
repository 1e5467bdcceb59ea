# The fields of a request head, as rule matchers, middlewares and services read them.
# Every span points into the arena of the message, or at a constant, and is valid until the message is cleared.

from libc.stdint cimport uint8_t, uint16_t

from lbcore.http.span cimport Span


cdef struct Header:
    Span name              # a token, as received
    Span value             # without surrounding white space, no control bytes


cdef struct ClientAddress:
    uint8_t ip[16]         # network order; IPv4 as ::ffff:a.b.c.d; all zero for a Unix socket
    uint16_t port          # host order; 0 for a Unix socket
    bint is_ipv4           # the peer uses IPv4 (v4-mapped included)
    char text[46]          # the address as text without zone and port; empty for a Unix socket
    uint8_t text_len


cdef struct RequestHead:
    Span method            # case-sensitive token
    Span target            # the request target as received
    Span authority         # Host header or the authority of an absolute-form target, port included
    Span host              # `authority` in lower case, without port and trailing dot
    Span path              # normalised and percent-encoded; forwarded to servers
    Span first_path        # `path` before any middleware changed it
    Span first_forwarded   # X-Forwarded-For of a trusted client, before any middleware changed it; several lines are one list
    Span route_path        # `path` with unreserved characters, spaces and UTF-8 decoded; rules match this
    Span query             # without the `?`
    bint has_query         # the target has a `?`
    bint encrypted         # the client came over TLS
    const char* tls_version    # e.g. `1.3`; points to a constant, NULL without TLS
    const char* tls_cipher     # the IANA name; likewise
    int major_version      # of HTTP: 1, 2 or 3; 0 until a head was read
    int minor_version      # of HTTP/1; 1 for requests in another version
    Header* headers        # in order of arrival
    Py_ssize_t n_headers
    Span protocols         # offered by ALPN, as on the wire; set for connections of layer 4 alone, whose server name is `host`
    ClientAddress* client  # never NULL; a field of the request, or of an object that outlives it
