"""Where a message's body ends (RFC 9112 sections 6 and 7): Content-Length, chunked or the end of the connection. No I/O.

Framing that two readers could read differently is refused, never repaired.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint8_t
from libc.string cimport memchr

from lbcore.http.known cimport (
    H_CONNECTION, H_CONTENT_LENGTH, H_EXPECT, H_OTHER, H_TE, H_TRANSFER_ENCODING, H_UPGRADE,
)
from lbcore.http.head cimport Header
from lbcore.http.span cimport Span, ascii_lower, span_ieq, span_of, token_ieq

cdef enum:
    # Most bytes of chunk extensions, and of white space around them, in one body. Extensions are skipped and never forwarded, so
    # only attackers have a use for many.
    EXTENSION_LIMIT_BYTES = 16384
    SIZE_DIGITS_LIMIT = 16     # leading zeros included
    # Most bytes of all Connection headers of a message: every other header is looked up in them, so the cost is length times lines.
    CONNECTION_LIMIT_BYTES = 2048

cdef enum:
    AT_SIZE = 0
    AT_NAME_START              # from here to AT_LINE_REST: chunk extensions (RFC 9112 section 7.1.1)
    AT_NAME
    AT_NAME_END
    AT_VALUE_START
    AT_VALUE
    AT_QUOTED
    AT_QUOTED_PAIR
    AT_LINE_REST               # white space behind the size or an extension
    AT_SIZE_LF
    AT_DATA
    AT_DATA_CR
    AT_DATA_LF
    AT_END

cdef uint8_t TOKEN[256]        # RFC 9110 section 5.6.2


cdef void fill_tokens() noexcept:
    cdef char c
    for c in b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ":
        TOKEN[<uint8_t>c] = True


fill_tokens()


cdef inline bint next_token(Span value, Py_ssize_t* at, Span* token) noexcept nogil:
    """Step through a comma-separated list. Returns False at its end. Skips empty elements (RFC 9110 section 5.6.1)."""
    cdef Py_ssize_t start, end
    cdef const char* comma
    while at[0] < value.len:
        start = at[0]
        while start < value.len and (value.ptr[start] == c" " or value.ptr[start] == c"\t" or value.ptr[start] == c","):
            start += 1
        if start >= value.len:
            at[0] = value.len
            return False
        comma = <const char*>memchr(value.ptr + start, c",", value.len - start)
        end = value.len if comma == NULL else comma - value.ptr
        at[0] = end + 1
        while end > start and (value.ptr[end - 1] == c" " or value.ptr[end - 1] == c"\t"):
            end -= 1
        token[0] = span_of(value.ptr + start, end - start)
        return True
    return False


cdef inline bint tokens_equal(Span a, Span b) noexcept nogil:
    cdef Py_ssize_t i
    if a.len != b.len:
        return False
    for i in range(a.len):
        if ascii_lower(a.ptr[i]) != ascii_lower(b.ptr[i]):
            return False
    return True


cdef bint value_lists(Span value, Span name) noexcept nogil:
    """Whether a comma-separated list has the name, whatever its case."""
    cdef Py_ssize_t at = 0
    cdef Span token
    while next_token(value, &at, &token):
        if tokens_equal(token, name):
            return True
    return False


cdef bint field_lists(const Header* headers, const uint8_t* kinds, Py_ssize_t count, uint8_t kind, Span name) noexcept nogil:
    """Whether a header of this kind lists the name."""
    cdef const uint8_t* end = kinds + count
    cdef const uint8_t* at = <const uint8_t*>memchr(kinds, kind, count)
    while at != NULL:
        if value_lists(headers[at - kinds].value, name):
            return True
        at += 1
        at = <const uint8_t*>memchr(at, kind, end - at)
    return False


cdef bint connection_lists(const Header* headers, const uint8_t* kinds, Py_ssize_t count, Span name) noexcept nogil:
    """Whether a Connection header names this header, which makes it hop-by-hop (RFC 9110 section 7.6.1)."""
    return field_lists(headers, kinds, count, H_CONNECTION, name)


cdef int64_t parse_length(Span value) noexcept nogil:
    """A Content-Length: digits only; -1 for anything else, and for numbers of more than 63 bits."""
    cdef int64_t total = 0
    cdef int digit
    cdef Py_ssize_t i
    if value.len == 0:
        return -1
    for i in range(value.len):
        if not (c"0" <= value.ptr[i] <= c"9"):
            return -1
        digit = value.ptr[i] - c"0"
        if total > (INT64_MAX - digit) // 10:
            return -1
        total = total * 10 + digit
    return total


cdef inline void drop_zeros(Span* value) noexcept nogil:
    """Remove leading zeros of a length, because some readers take `010` for octal."""
    while value.len > 1 and value.ptr[0] == c"0":
        value.ptr += 1
        value.len -= 1


cdef int scan(Header* headers, const uint8_t* kinds, Py_ssize_t count, int minor_version, int64_t* length,
              int* codings, bint* chunked, Framing* framing) noexcept nogil:
    """Read the framing headers of a message, in either direction. Returns 0, or 400 for contradictory lengths.

    length   of Content-Length; -1 = absent.
    codings  number of Transfer-Encoding lines.
    chunked  every such line says `chunked` and nothing else. A list with an empty element (`chunked,`) or a parameter can be read
             in more than one way, and no other coding is supported.
    """
    cdef Py_ssize_t i, at, options = 0
    cdef int64_t value
    cdef Span token
    cdef bint close = False, keep_alive = False, upgrade_listed = False, upgrade_named = False, h2c = False
    length[0] = -1
    codings[0] = 0
    chunked[0] = False
    framing.expects_continue = False
    framing.te_trailers = False
    framing.names_headers = False
    framing.has_connection = False
    for i in range(count):
        if kinds[i] == H_OTHER:
            continue
        if kinds[i] == H_CONTENT_LENGTH:
            value = parse_length(headers[i].value)
            if value < 0 or (length[0] >= 0 and length[0] != value):
                return 400
            length[0] = value
            drop_zeros(&headers[i].value)
        elif kinds[i] == H_TRANSFER_ENCODING:
            codings[0] += 1
            chunked[0] = codings[0] == 1 and span_ieq(headers[i].value, b"chunked", 7)
        elif kinds[i] == H_CONNECTION:
            framing.has_connection = True
            options += headers[i].value.len
            if options > CONNECTION_LIMIT_BYTES:
                return 400
            at = 0
            while next_token(headers[i].value, &at, &token):
                if token.len == 5 and token_ieq(token.ptr, b"close", 5):
                    close = True
                elif token.len == 10 and token_ieq(token.ptr, b"keep-alive", 10):
                    keep_alive = True
                elif token.len == 7 and token_ieq(token.ptr, b"upgrade", 7):
                    upgrade_listed = True
                else:
                    framing.names_headers = True
        elif kinds[i] == H_UPGRADE:
            at = 0
            while next_token(headers[i].value, &at, &token):
                upgrade_named = True
                if span_ieq(token, b"h2c", 3):
                    h2c = True
        elif kinds[i] == H_EXPECT:
            framing.expects_continue = minor_version >= 1      # RFC 9110 section 10.1.1
        elif kinds[i] == H_TE:
            at = 0
            while next_token(headers[i].value, &at, &token):
                if span_ieq(token, b"trailers", 8):
                    framing.te_trailers = True
    framing.keep_alive = not close and (minor_version >= 1 or keep_alive)
    # A tunnel of HTTP/2 would carry requests past all rules and middlewares, so that upgrade is not forwarded.
    # HTTP/1.0 has no upgrades (RFC 9110 section 7.8).
    framing.upgrade = upgrade_listed and upgrade_named and not h2c and minor_version >= 1
    return 0


cdef int frame_request(Header* headers, const uint8_t* kinds, Py_ssize_t count, int minor_version,
                       Framing* framing) noexcept nogil:
    """Decide the framing of a request. Returns 0, or the status to refuse it with: 400, or 501 for a coding other than `chunked`."""
    cdef int64_t length
    cdef int codings
    cdef bint chunked
    cdef int status = scan(headers, kinds, count, minor_version, &length, &codings, &chunked, framing)
    if status:
        return status
    framing.body = BODY_NONE
    framing.length = 0
    if codings:
        # A sender that gives both a length and a coding is confused or hostile (RFC 9112 section 6.1), as is HTTP/1.0
        # with a coding.
        if length >= 0 or minor_version == 0:
            return 400
        if not chunked:
            return 501
        framing.body = BODY_CHUNKED
    elif length > 0:
        framing.body = BODY_LENGTH
        framing.length = length
    return 0


cdef int frame_response(Header* headers, const uint8_t* kinds, Py_ssize_t count, int minor_version, int status,
                        bint head_request, Framing* framing) noexcept nogil:
    """Decide the framing of an answer (RFC 9112 section 6.3). Returns 0, or 502 if it can be read in two ways."""
    cdef int64_t length
    cdef int codings
    cdef bint chunked
    if scan(headers, kinds, count, minor_version, &length, &codings, &chunked, framing):
        return 502
    framing.length = 0
    if head_request or status < 200 or status == 204 or status == 304:
        framing.body = BODY_NONE
        if codings and not (chunked and (head_request or status == 304)) or (length > 0 and (status < 200 or status == 204)):
            # A body is announced for a status that has none: if it followed, it would be read as the next answer.
            framing.keep_alive = False
        return 0
    if codings:
        if not chunked or minor_version == 0:
            return 502
        framing.body = BODY_CHUNKED
        if length >= 0:
            # The coding wins; what another reader made of this connection is unknown, so it is not used again.
            framing.keep_alive = False
    elif length >= 0:
        framing.body = BODY_LENGTH if length > 0 else BODY_NONE
        framing.length = length
    else:
        framing.body = BODY_UNTIL_CLOSE
        framing.keep_alive = False
    return 0


cdef bint upgrade_agreed(const Header* asked, const uint8_t* asked_kinds, Py_ssize_t n_asked,
                         const Header* said, const uint8_t* said_kinds, Py_ssize_t n_said) noexcept nogil:
    """Whether the request's Upgrade has asked for every protocol in the answer's (RFC 9110 section 7.8)."""
    cdef Py_ssize_t i, j, at, asked_at
    cdef Span protocol, other
    cdef bint found
    for i in range(n_said):
        if said_kinds[i] != H_UPGRADE:
            continue
        at = 0
        while next_token(said[i].value, &at, &protocol):
            found = False
            for j in range(n_asked):
                if asked_kinds[j] != H_UPGRADE:
                    continue
                asked_at = 0
                while not found and next_token(asked[j].value, &asked_at, &other):
                    found = tokens_equal(protocol, other)
            if not found:
                return False
    return True


cdef inline int hex_digit(char c) noexcept nogil:
    if c"0" <= c <= c"9":
        return c - c"0"
    c = ascii_lower(c)
    if c"a" <= c <= c"f":
        return c - c"a" + 10
    return -1


cdef inline int next_in_line(int state, char c) noexcept nogil:
    """The state after a byte of a chunk's line behind the size; -1 for a byte that is not allowed there."""
    cdef bint blank = c == c" " or c == c"\t"
    if state == AT_QUOTED:
        if c == c'"':
            return AT_LINE_REST
        if c == c"\\":
            return AT_QUOTED_PAIR
        return AT_QUOTED if (<uint8_t>c >= 0x20 and c != 0x7F) or c == c"\t" else -1
    if state == AT_QUOTED_PAIR:
        return AT_QUOTED if (<uint8_t>c >= 0x20 and c != 0x7F) or c == c"\t" else -1
    if state == AT_NAME_START:
        return AT_NAME_START if blank else AT_NAME if TOKEN[<uint8_t>c] else -1
    if state == AT_VALUE_START:
        return AT_VALUE_START if blank else AT_QUOTED if c == c'"' else AT_VALUE if TOKEN[<uint8_t>c] else -1
    # The extension, or the size, may end here.
    if c == c"\r":
        return AT_SIZE_LF
    if c == c";":
        return AT_NAME_START
    if state == AT_NAME or state == AT_NAME_END:
        if c == c"=":
            return AT_VALUE_START
        if state == AT_NAME and TOKEN[<uint8_t>c]:
            return AT_NAME
        return AT_NAME_END if blank else -1
    if state == AT_VALUE and TOKEN[<uint8_t>c]:
        return AT_VALUE
    return AT_LINE_REST if blank else -1


cdef int chunk_decode(ChunkDecoder* decoder, const char* ptr, Py_ssize_t length, Py_ssize_t* used,
                      Span* data) noexcept nogil:
    """Decode chunked coding (RFC 9112 section 7.1) up to the next ChunkEvent; `used` is the number of bytes consumed.

    A zeroed decoder starts a body. Lines end with CRLF only; a size has at most 16 digits and 63 bits; white space is allowed behind
    it and around extensions, whose syntax is checked in full. The decoder must not be called after CHUNK_TRAILERS or CHUNK_BAD.
    O(bytes of framing), whatever the size of the data.
    """
    cdef Py_ssize_t i = 0
    cdef int digit
    cdef char c
    while i < length:
        c = ptr[i]
        if decoder.state == AT_DATA:
            data.ptr = ptr + i
            data.len = length - i if decoder.left > length - i else <Py_ssize_t>decoder.left
            decoder.left -= data.len
            if decoder.left == 0:
                decoder.state = AT_DATA_CR
            used[0] = i + data.len
            return CHUNK_DATA
        i += 1
        if decoder.state == AT_SIZE:
            digit = hex_digit(c)
            if digit >= 0:
                decoder.digits += 1
                if decoder.digits > SIZE_DIGITS_LIMIT or decoder.left > INT64_MAX >> 4:
                    return CHUNK_BAD
                decoder.left = decoder.left * 16 + digit
            elif decoder.digits == 0:
                return CHUNK_BAD
            elif c == c"\r":
                decoder.state = AT_SIZE_LF
            else:
                decoder.state = next_in_line(AT_LINE_REST, c)
                if decoder.state < 0:
                    return CHUNK_BAD
        elif decoder.state < AT_SIZE_LF:
            decoder.state = next_in_line(decoder.state, c)
            decoder.extension_bytes += 1
            if decoder.state < 0 or decoder.extension_bytes > EXTENSION_LIMIT_BYTES:
                return CHUNK_BAD
        elif decoder.state == AT_SIZE_LF:
            if c != c"\n":
                return CHUNK_BAD
            if decoder.left == 0:
                decoder.state = AT_END
                used[0] = i
                return CHUNK_TRAILERS
            decoder.state = AT_DATA
        elif decoder.state == AT_DATA_CR:
            if c != c"\r":
                return CHUNK_BAD
            decoder.state = AT_DATA_LF
        elif decoder.state == AT_DATA_LF:
            if c != c"\n":
                return CHUNK_BAD
            decoder.state = AT_SIZE
            decoder.digits = 0
            decoder.left = 0
        else:
            return CHUNK_BAD
    used[0] = i
    return CHUNK_MORE


def decode_chunked(pieces: list) -> tuple:
    """Decode chunked coding that arrives in `pieces` (bytes), for tests: `(body, rest)`.

    `rest` follows the line of the last chunk and begins with the trailer section; None when the body is not complete.
    Raises ValueError on a framing error.
    """
    cdef ChunkDecoder decoder
    cdef Py_ssize_t at, used
    cdef Span data
    cdef int event
    cdef const char* ptr
    decoder.state = AT_SIZE
    decoder.digits = 0
    decoder.left = 0
    decoder.extension_bytes = 0
    body = []
    for index, piece in enumerate(pieces):
        ptr = piece
        at = 0
        while at < len(piece):
            event = chunk_decode(&decoder, ptr + at, len(piece) - at, &used, &data)
            if event == CHUNK_BAD:
                raise ValueError("bad chunk framing")
            at += used
            if event == CHUNK_DATA:
                body.append(data.ptr[:data.len])
            elif event == CHUNK_TRAILERS:
                return b"".join(body), piece[at:] + b"".join(pieces[index + 1:])
    return b"".join(body), None
