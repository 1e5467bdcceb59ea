"""Strict parsing and validation of a request head (RFC 9112 sections 2, 3 and 5). No I/O.

The head is copied before it is read: every span points into the request's arena, and is valid until `clear`.
"""

import ipaddress

cimport cython
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memchr, memcpy, memset

from lbcore.http.arena cimport arena_alloc
from lbcore.http.framing cimport BODY_LENGTH, BODY_NONE, frame_request, parse_length
from lbcore.http.head cimport ClientAddress, Header
from lbcore.http.known cimport (
    H_CONNECTION, H_CONTENT_LENGTH, H_DROPPED, H_EXPECT, H_FOLDED, H_HOST, H_KEEP_ALIVE, H_OTHER, H_OWN, H_PROXY_AUTHENTICATE,
    H_PROXY_AUTHORIZATION, H_PROXY_CONNECTION, H_TE, H_TRAILER, H_TRANSFER_ENCODING, H_X_FORWARDED_FOR, header_kind,
    is_managed,
)
from lbcore.http.message cimport HEAD_PARTIAL, MAX_HEADER_LINES, Message
from lbcore.http.number cimport put_decimal
from lbcore.http.path cimport decode_route_path, path_normalise
from lbcore.http.pico cimport PICO_PARTIAL, pico_parse_request
from lbcore.http.span cimport Span, ascii_lower, span_bytes, span_eq, span_ieq, span_of

cdef enum:
    PORT_LIMIT = 65535

# Fields that are no trailers, besides those with a HeaderKind: authentication, request modifiers, content.
NO_TRAILERS = frozenset(b"""authorization cookie cookie2 set-cookie cache-control pragma range max-forwards if-match if-none-match
    if-modified-since if-unmodified-since if-range content-encoding content-type content-range content-location origin
    x-http-method-override x-http-method x-method-override""".split())

cdef enum:
    NAMES = 1                  # bits of NAME_BYTE
    UPPER = 2

cdef uint8_t NAME_BYTE[256]    # of a registered name or an IPv4 address


cdef void fill_name_bytes() noexcept:
    """Fill NAME_BYTE by RFC 3986 section 3.2.2, `unreserved` and `sub-delims`, without the comma, on which proxies disagree."""
    cdef char c
    for c in b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+;=":
        NAME_BYTE[<uint8_t>c] = NAMES
    for c in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        NAME_BYTE[<uint8_t>c] = NAMES | UPPER


fill_name_bytes()


cdef inline bint is_hex(char c) noexcept nogil:
    return c"0" <= c <= c"9" or c"a" <= c <= c"f" or c"A" <= c <= c"F"


cdef bint is_registered_name(Span name, bint* lower) noexcept nogil:
    """Whether a text, which may be empty, is a `reg-name` or an IPv4 address (RFC 3986 section 3.2.2). `lower`: it has no capitals."""
    cdef Py_ssize_t i = 0
    cdef uint8_t byte, all_bits = 0
    while i < name.len:
        byte = NAME_BYTE[<uint8_t>name.ptr[i]]
        if byte == 0:
            if name.ptr[i] != c"%" or i + 2 >= name.len or not is_hex(name.ptr[i + 1]) or not is_hex(name.ptr[i + 2]):
                return False
            byte = UPPER       # the digits may be capitals
            i += 2
        all_bits |= byte
        i += 1
    lower[0] = not all_bits & UPPER
    return True


cdef bint is_ipv4(const char* at, const char* end) noexcept nogil:
    """Four numbers below 256 without leading zeros."""
    cdef int parts = 0, value, digits
    while True:
        value = digits = 0
        while at < end and c"0" <= at[0] <= c"9":
            if digits and value == 0:
                return False
            value = value * 10 + at[0] - c"0"
            digits += 1
            if value > 255:
                return False
            at += 1
        parts += 1
        if digits == 0 or parts > 4:
            return False
        if at == end:
            return parts == 4
        if at[0] != c".":
            return False
        at += 1


cdef bint is_ipv6(const char* at, const char* end) noexcept nogil:
    """An IPv6 address as text, without a zone (RFC 3986 section 3.2.2)."""
    cdef int groups = 0, digits
    cdef bint shortened = False
    cdef const char* start
    if end - at >= 2 and at[0] == c":" and at[1] == c":":
        shortened = True
        at += 2
    elif at == end:
        return False
    while at < end:
        start = at
        digits = 0
        while at < end and is_hex(at[0]):
            digits += 1
            at += 1
        if at < end and at[0] == c".":
            groups += 2
            return is_ipv4(start, end) and (groups < 8 if shortened else groups == 8)
        groups += 1
        if digits == 0 or digits > 4 or groups > 8:
            return False
        if at == end:
            break
        if at[0] != c":" or at + 1 == end:
            return False
        at += 1
        if at[0] == c":":
            if shortened:
                return False
            shortened = True
            at += 1
    return groups < 8 if shortened else groups == 8


cdef bint is_ip_future(const char* at, const char* end) noexcept nogil:
    """`v1.text`, an address of a future version (RFC 3986 section 3.2.2)."""
    if at == end or (at[0] != c"v" and at[0] != c"V"):
        return False
    at += 1
    if at == end or not is_hex(at[0]):
        return False
    while at < end and is_hex(at[0]):
        at += 1
    if at == end or at[0] != c"." or at + 1 == end:
        return False
    at += 1
    while at < end:
        if not NAME_BYTE[<uint8_t>at[0]] and at[0] != c":":
            return False
        at += 1
    return True


cdef int split_authority(Span authority, Span* name, bint* lower) noexcept nogil:
    """Check `uri-host [ ":" port ]` (RFC 9110 section 7.2) and remove the port. Returns 0, or 400.

    name   the host, in its original case; an IPv6 address without its brackets. Empty if the whole field is.
    lower  whether it certainly has no capitals.
    """
    cdef Py_ssize_t i, end
    cdef const char* colon
    cdef int port = 0
    lower[0] = False
    if authority.len == 0:
        name[0] = authority
        return 0
    if authority.ptr[0] == c"[":
        end = 1
        while end < authority.len and authority.ptr[end] != c"]":
            end += 1
        if end == authority.len:
            return 400
        name[0] = span_of(authority.ptr + 1, end - 1)
        if not is_ipv6(name.ptr, name.ptr + name.len):
            if not is_ip_future(name.ptr, name.ptr + name.len):
                return 400
        end += 1
    else:
        colon = <const char*>memchr(authority.ptr, c":", authority.len)
        end = authority.len if colon == NULL else colon - authority.ptr
        name[0] = span_of(authority.ptr, end)
        if end == 0 or not is_registered_name(name[0], lower):
            return 400
    if end == authority.len:
        return 0
    if authority.ptr[end] != c":":
        return 400
    for i in range(end + 1, authority.len):
        if not (c"0" <= authority.ptr[i] <= c"9"):
            return 400
        port = port * 10 + authority.ptr[i] - c"0"
        if port > PORT_LIMIT:
            return 400
    return 0


cdef list announced_trailers(Request request):
    """The names of the trailers that the client has announced, as it has written them."""
    cdef Py_ssize_t i
    cdef list names = []
    for i in range(request.n_headers):
        if request.kinds[i] == H_TRAILER:
            names += [name.strip(b" \t") for name in span_bytes(request.headers[i].value).split(b",")]
    return [name for name in names if name]


cdef set settled_names(Request request):
    """The names, in lower case, of the headers that a middleware has set or removed."""
    cdef Py_ssize_t i
    cdef set names = set()
    for i in range(request.n_headers):
        if request.kinds[i] & H_OWN:
            names.add(span_bytes(request.headers[i].name).lower())
        elif request.kinds[i] == H_DROPPED and request.headers[i].name.ptr == NULL:
            names.add(span_bytes(request.headers[i].value).lower())
    return names


cdef bint is_alias(Span name, bint underscores_only) noexcept nogil:
    """Whether a header's name has a byte that servers replace like a dash when they make a variable name of it."""
    cdef Py_ssize_t i
    cdef char c
    if underscores_only:
        return memchr(name.ptr, c"_", name.len) != NULL
    for i in range(name.len):
        c = name.ptr[i]
        if not (c"a" <= ascii_lower(c) <= c"z" or c"0" <= c <= c"9" or c == c"-"):
            return True
    return False


cdef set names_of_connection(Message message):
    """The names that `Connection` lists, in lower case."""
    cdef set found = set()
    cdef Py_ssize_t i
    for i in range(message.n_headers):
        if message.kinds[i] == H_CONNECTION and message.headers[i].value.len:
            found.update([name.strip(b" \t") for name in span_bytes(message.headers[i].value).lower().split(b",")])
    return found


@cython.final
cdef class Request(Message):
    """One request head."""

    def __cinit__(self):
        self.head.client = &self.address

    cdef void clear(self) noexcept:
        """Remove all of the request: until the next `parse`, every field is empty."""
        Message.clear(self)
        if self.trailers is not None:
            self.trailers.clear()
        memset(&self.head, 0, sizeof(self.head))
        memset(&self.address, 0, sizeof(self.address))
        self.head.client = &self.address
        self.target_form = TARGET_ORIGIN
        self.is_head = False
        self.forwarded_host = span_of(NULL, 0)
        self.lacks_host = False
        self.has_host = False
        self.user = None
        self.tls_chain = None
        self.from_grpc_web = False

    cdef void set_client(self, const ClientAddress* address) noexcept:
        """Set the client's address, which is copied."""
        self.address = address[0]

    cdef int add_header(self, Span name, Span value) except -1:
        """Append a header; its spans must stay valid until `clear`."""
        self.append(name, value)
        self.head.headers = self.headers
        self.head.n_headers = self.n_headers
        return 0

    cdef int add_own(self, Span name, Span value) except -1:
        """Append a header that is forwarded whether or not the client is trusted; its spans must stay valid until `clear`."""
        self.add_header(name, value)
        self.kinds[self.n_headers - 1] |= H_OWN
        return 0

    cdef int set_header(self, Span name, Span lower, Span value) except -1:
        """Replace a header, or remove it with an empty value. The spans must stay valid until `clear`.

        After a managed header is set or removed here, `render_request` does not write it any more.
        """
        cdef uint8_t kind = header_kind(name)
        cdef Py_ssize_t last
        self.drop(lower.ptr, lower.len)
        if value.len or is_managed(kind):
            self.add_own(name, value)
        elif self.find(b"trailer", 7).ptr != NULL:
            self.add_header(name, value)       # what is left is for `settled_names` alone
            last = self.n_headers - 1
            self.kinds[last] = H_DROPPED
            self.headers[last].name, self.headers[last].value = span_of(NULL, 0), name
        if kind == H_HOST and value.len:
            self.forwarded_host = value
        return 0

    cdef int follow_path(self) except -1:
        """Have rules match the path as middlewares have left it. Raises MemoryError."""
        cdef RequestHead* head = &self.head
        if head.path.ptr == head.first_path.ptr and head.path.len == head.first_path.len:
            return 0
        if decode_route_path(head.path, &self.arena, &head.route_path):
            raise MemoryError
        return 0

    cdef void drop_managed(self) noexcept:
        """Remove the managed headers, because the client is not trusted to set them."""
        cdef Py_ssize_t i
        for i in range(self.n_headers):
            if is_managed(self.kinds[i]):
                self.drop_at(i)

    cdef int drop_listed(self, frozenset visible) except -1:
        """Remove the headers that `Connection` lists, before any rule sees them. Managed headers cannot be removed in this way.
        O(length of the head).

        visible  names, in lower case, that rules and middlewares see nevertheless; servers do not get them.
        """
        cdef set listed = names_of_connection(self)
        cdef bytes name
        cdef Py_ssize_t i
        cdef bint complete = True
        for i in range(self.n_headers):
            if self.kinds[i] in (H_OTHER, H_KEEP_ALIVE, H_PROXY_CONNECTION, H_TE, H_PROXY_AUTHENTICATE, H_PROXY_AUTHORIZATION):
                name = span_bytes(self.headers[i].name).lower()
                if name not in listed:
                    continue
                if name in visible:
                    complete = False
                else:
                    self.drop_at(i)
        if complete:
            self.settle_connection()
            self.framing.names_headers = False
        return 0

    cdef void settle_connection(self) noexcept:
        """Reduce Connection to what rules may see: `Upgrade`, in this spelling, for a request that asks for one; else nothing."""
        cdef bint upgrade = self.framing.upgrade
        cdef Py_ssize_t i
        for i in range(self.n_headers):
            if self.kinds[i] == H_CONNECTION:
                if upgrade:
                    self.headers[i].value = span_of(b"Upgrade", 7)
                    upgrade = False
                else:
                    self.drop_at(i)

    cdef Message trailer_section(self):
        """The message for the trailer section, owned by the request and cleared with it."""
        if self.trailers is None:
            self.trailers = Message()
        return self.trailers

    cdef Message trailers_to_forward(self):
        """The trailers to forward: those that `Trailer` has announced and that are allowed as trailers; None if there are none.

        A server may merge trailers with the headers, which rules and middlewares have examined already. Fields that mean anything to
        these, to a proxy or to the framing are therefore not forwarded (RFC 9110 section 6.5.1), nor aliases of their names, nor what a
        middleware has set or removed by that name.
        """
        cdef Message found = self.trailers
        cdef Py_ssize_t i, left = 0
        cdef set announced, settled
        cdef bytes name
        if found is None or found.n_headers == 0:
            return None
        announced = {name.lower() for name in announced_trailers(self)}    # a set: there may be thousands, and as many trailers
        settled = settled_names(self)
        for i in range(found.n_headers):
            name = span_bytes(found.headers[i].name).lower()
            if found.kinds[i] != H_OTHER or is_alias(found.headers[i].name, False) or name in NO_TRAILERS or name not in announced \
                    or name in settled:
                found.drop_at(i)
            else:
                left += 1
        return found if left else None

    cdef void release_aliases(self) noexcept:
        """Forward aliases of managed headers (`X_Forwarded_For`, `X.Real-Ip`) unchanged, because the client is trusted."""
        cdef Py_ssize_t i
        for i in range(self.n_headers):
            if is_managed(self.kinds[i]) and is_alias(self.headers[i].name, False):
                self.kinds[i] = H_OTHER

    cdef int note_forwarded(self) except -1:
        """Set `head.first_forwarded`, because the client is trusted. Raises MemoryError. O(headers)."""
        cdef Py_ssize_t i, size = 0
        cdef Span* found = &self.head.first_forwarded
        cdef char* out
        for i in range(self.n_headers):
            if self.kinds[i] == H_X_FORWARDED_FOR and self.headers[i].value.len:
                found[0] = self.headers[i].value
                size += found.len + 2
        if size <= found.len + 2:      # none, or one line
            return 0
        out = arena_alloc(&self.arena, size)
        if out == NULL:
            raise MemoryError
        found.ptr = out
        for i in range(self.n_headers):
            if self.kinds[i] == H_X_FORWARDED_FOR and self.headers[i].value.len:
                memcpy(out, self.headers[i].value.ptr, self.headers[i].value.len)
                memcpy(out + self.headers[i].value.len, b", ", 2)
                out += self.headers[i].value.len + 2
        found.len = size - 2
        return 0

    cdef int copy(self, Request other) except -1:
        """Become a copy of `other` that shares no memory with it. Raises MemoryError. O(length of the head)."""
        cdef RequestHead* head = &self.head
        cdef Py_ssize_t i
        self.clear()
        while self.capacity < other.n_headers:
            if self.grow() < 0:
                raise MemoryError
        head[0] = other.head
        head.method = self.keep(head.method)
        head.target = self.keep(head.target)
        head.authority = self.keep(head.authority)
        head.host = self.keep(head.host)
        head.path = self.keep(head.path)
        head.first_path = self.keep(head.first_path)
        head.first_forwarded = self.keep(head.first_forwarded)
        head.route_path = self.keep(head.route_path)
        head.query = self.keep(head.query)
        for i in range(other.n_headers):
            self.headers[i].name = self.keep(other.headers[i].name)
            self.headers[i].value = self.keep(other.headers[i].value)
            self.kinds[i] = other.kinds[i]
        self.n_headers = head.n_headers = other.n_headers
        head.headers = self.headers
        self.address = other.head.client[0]
        head.client = &self.address
        self.framing = other.framing
        self.target_form = other.target_form
        self.is_head = other.is_head
        self.has_host = other.has_host
        self.forwarded_host = self.keep(other.forwarded_host)
        return 0

    cdef int refer_to(self, Request other) except -1:
        """Become a copy of the head of `other` as it is now, whose text it shares and must not outlive. Raises MemoryError. O(headers)."""
        while self.capacity < other.n_headers:
            if self.grow() < 0:
                raise MemoryError
        self.head = other.head
        self.head.headers = self.headers
        self.address = other.head.client[0]
        self.head.client = &self.address
        memcpy(self.headers, other.headers, other.n_headers * sizeof(Header))
        memcpy(self.kinds, other.kinds, other.n_headers)
        self.n_headers = other.n_headers
        self.framing = other.framing
        self.target_form = other.target_form
        self.is_head = other.is_head
        self.has_host = other.has_host
        self.forwarded_host = other.forwarded_host
        return 0

    cdef void drop_body(self) noexcept:
        """Remove the body, and the headers that announce one, so that no server waits for it."""
        cdef Py_ssize_t i
        for i in range(self.n_headers):
            if self.kinds[i] in (H_CONTENT_LENGTH, H_TRANSFER_ENCODING, H_EXPECT):
                self.drop_at(i)
        self.framing.body = BODY_NONE
        self.framing.length = 0
        self.framing.expects_continue = False

    cdef int set_body(self, Py_ssize_t length) except -1:
        """Set the framing of a request whose body lbcore has, or makes: so many bytes (0 = none), and no upgrade."""
        cdef char* digits
        self.drop_body()
        self.framing.upgrade = False
        if length:
            digits = self.alloc(20)
            self.add_header(span_of(b"Content-Length", 14), span_of(digits, put_decimal(digits, length) - digits))
            self.framing.body = BODY_LENGTH
            self.framing.length = length
        else:
            self.say_empty()
        return 0

    cdef int say_empty(self) except -1:
        """Say the length of a request without a body whose method gives content a meaning (RFC 9110 section 8.6)."""
        cdef Span m = self.head.method
        if span_eq(m, b"POST", 4) or span_eq(m, b"PUT", 3) or span_eq(m, b"PATCH", 5):
            self.add_header(span_of(b"Content-Length", 14), span_of(b"0", 1))
        return 0

    cdef bint is_idempotent(self) noexcept:
        """Whether the request may be sent twice without harm: it has a safe method and no body."""
        cdef Span m = self.head.method
        if self.framing.body:
            return False
        return span_eq(m, b"GET", 3) or self.is_head or span_eq(m, b"OPTIONS", 7) or span_eq(m, b"TRACE", 5)

    cdef Py_ssize_t parse(self, const char* data, Py_ssize_t length, Py_ssize_t seen, const RequestPolicy* policy) noexcept:
        """Parse a head from the front of `data`, to which nothing refers afterwards. The request must be cleared.

        seen     number of bytes of `data` that an earlier call was given already (0 at first).
        Returns  the head's length; HEAD_PARTIAL if it is not complete; minus the HTTP status to refuse with
                 (400, 417, 431, 501, 503 without memory, 505).
        Cost     O(length), no heap call for up to 32 headers and 4 KiB.
        """
        cdef RequestHead* head = &self.head
        cdef size_t count
        cdef int used, status, minor_version = 0
        cdef const char* own
        cdef const char* method
        cdef const char* target
        cdef size_t method_len = 0, target_len = 0
        if length and (data[0] == c"\r" or data[0] == c"\n"):
            return HEAD_PARTIAL if length == 1 and data[0] == c"\r" else -400       # an empty line, which is skipped when it is whole
        while True:
            count = self.capacity
            used = pico_parse_request(data, length, &method, &method_len, &target, &target_len, &minor_version,
                                      self.headers, &count, seen)
            if used == PICO_PARTIAL:
                return HEAD_PARTIAL if length < policy.max_header_bytes else -431
            if used > 0:
                break
            if count < <size_t>self.capacity:
                return -self.malformed_status(data, length)
            if self.capacity > policy.max_header_lines:
                return -431
            if self.grow() < 0:
                return -503
        if used > policy.max_header_bytes or <Py_ssize_t>count > policy.max_header_lines:
            return -431
        self.n_headers = count
        own = self.own(data, used)
        if own == NULL:
            self.n_headers = 0
            return -503
        method = own + (method - data)
        target = own + (target - data)
        head.major_version = 1
        head.minor_version = minor_version
        head.method = span_of(method, method_len)
        head.target = span_of(target, target_len)
        head.headers = self.headers
        head.n_headers = count
        # The parser accepts several spaces around the target; RFC 9112 section 3 allows one.
        if target != method + method_len + 1 or target[target_len] != c" " or target[target_len + 1] != c"H":
            return -400
        status = self.classify(policy)
        if status == 0:
            status = frame_request(head.headers, self.kinds, head.n_headers, head.minor_version, &self.framing)
        if status == 0 and self.framing.has_connection and not self.framing.names_headers:
            self.settle_connection()
        if status == 0:
            status = self.read_target(policy)
        if status == 0 and (span_eq(head.method, b"OPTIONS", 7) or span_eq(head.method, b"TRACE", 5)):
            status = self.count_hop()
        return -status if status else used

    cdef int count_hop(self) noexcept:
        """Decrease Max-Forwards (RFC 9110 section 7.6.2), or note that the request ends here. Returns 0, or 503 without memory."""
        cdef Py_ssize_t i
        cdef int64_t left
        cdef char* digits
        if self.target_form == TARGET_ASTERISK:
            self.is_last_hop = True
        for i in range(self.n_headers):
            if not span_ieq(self.headers[i].name, b"max-forwards", 12):
                continue
            left = parse_length(self.headers[i].value)
            if left == 0:
                self.is_last_hop = True
            elif left > 0:
                digits = arena_alloc(&self.arena, 20)
                if digits == NULL:
                    return 503
                self.headers[i].value = span_of(digits, put_decimal(digits, left - 1) - digits)
        return 0

    cdef int malformed_status(self, const char* data, Py_ssize_t length) noexcept:
        """The status for a head that the parser refuses: 505 if only the version in the request line is wrong, else 400."""
        cdef const char* end = <const char*>memchr(data, c"\r", length)
        cdef Py_ssize_t n
        if end == NULL:
            return 400
        n = end - data
        if n > 9 and data[n - 9] == c" " and span_eq(span_of(data + n - 8, 5), b"HTTP/", 5) and data[n - 3] != c"1":
            if c"0" <= data[n - 3] <= c"9" and data[n - 2] == c"." and c"0" <= data[n - 1] <= c"9":
                return 505
        return 400

    cdef int classify(self, const RequestPolicy* policy) noexcept:
        """Set the kind of every header. Returns the status to refuse folded lines, a second Host, unknown expectations, and aliases
        if the policy says so; else 0."""
        cdef RequestHead* head = &self.head
        cdef Py_ssize_t i
        cdef int hosts = 0
        cdef uint8_t kind
        cdef Header* header
        head.authority = span_of(NULL, 0)
        for i in range(head.n_headers):
            header = &head.headers[i]
            kind = self.kinds[i]
            if kind == H_FOLDED:
                return 400  # RFC 9112 section 5.2
            if policy.aliases and is_alias(header.name, policy.underscores_only):
                if policy.aliases == ALIAS_REJECT:
                    return 400
                self.kinds[i] = H_DROPPED
            elif kind == H_HOST:
                hosts += 1
                head.authority = header.value
            elif kind == H_EXPECT and not span_ieq(header.value, b"100-continue", 12):
                return 417
            elif kind == H_EXPECT and head.minor_version == 0:
                self.kinds[i] = H_DROPPED  # nobody waits in HTTP/1.0 (RFC 9110 section 10.1.1)
        self.has_host = hosts > 0
        self.lacks_host = hosts == 0 and head.minor_version >= 1
        if hosts > 1 or (hosts == 0 and head.minor_version >= 1):
            return 400
        return 0

    cdef int read_target(self, const RequestPolicy* policy) noexcept:
        """Split target and authority, and normalise the path. Returns 0, or the status to refuse with."""
        cdef RequestHead* head = &self.head
        cdef Span target = head.target
        cdef Py_ssize_t at, i
        cdef int status
        cdef bint lower
        self.is_head = span_eq(head.method, b"HEAD", 4)
        self.is_last_hop = False
        self.target_form = TARGET_ORIGIN
        if span_eq(head.method, b"CONNECT", 7):
            return 501
        if target.ptr[0] != c"/":
            if target.len == 1 and target.ptr[0] == c"*":
                if not span_eq(head.method, b"OPTIONS", 7):
                    return 400
                self.target_form = TARGET_ASTERISK
            else:
                at = 0
                if target.len > 7 and span_ieq(span_of(target.ptr, 7), b"http://", 7):
                    at = 7
                elif target.len > 8 and span_ieq(span_of(target.ptr, 8), b"https://", 8):
                    at = 8
                else:
                    return 400
                i = at
                while i < target.len and target.ptr[i] != c"/" and target.ptr[i] != c"?":
                    i += 1
                if i == at:
                    return 400
                # The authority of the target overrides the Host header (RFC 9112 section 3.2.2), which has to be one all the same.
                status = split_authority(head.authority, &head.host, &lower)
                if status:
                    return status
                head.authority = span_of(target.ptr + at, i - at)
                self.has_host = True
                target = span_of(target.ptr + i, target.len - i)
                self.target_form = TARGET_ABSOLUTE
                if target.len == 0 and span_eq(head.method, b"OPTIONS", 7):
                    target = span_of(b"*", 1)          # RFC 9112 section 3.2.4
                    self.target_form = TARGET_ASTERISK
        status = split_authority(head.authority, &head.host, &lower)
        if status:
            return status
        if head.host.len > 1 and head.host.ptr[head.host.len - 1] == c".":     # of a dot alone, something has to be left
            head.host.len -= 1
        if not lower:
            self.lower_host()
        if self.target_form == TARGET_ASTERISK:
            head.path = head.first_path = head.route_path = target
            head.query = span_of(NULL, 0)
            head.has_query = False
            return 0
        status = path_normalise(&policy.path, target, &self.arena, &head.path, &head.route_path, &head.query, &head.has_query)
        head.first_path = head.path
        return status

    cdef void lower_host(self) noexcept:
        """Change `host` to lower case. Copies only if there is an upper-case letter."""
        cdef Span host = self.head.host
        cdef Py_ssize_t i
        cdef char* out
        for i in range(host.len):
            if c"A" <= host.ptr[i] <= c"Z":
                out = arena_alloc(&self.arena, host.len)
                if out == NULL:
                    host.len = 0
                    break
                for i in range(host.len):
                    out[i] = ascii_lower(host.ptr[i])
                host.ptr = out
                break
        self.head.host = host

    # For tests and tools; the data plane does not call these.

    def parse_bytes(self, data: bytes, *, max_header_bytes: int = 1 << 20, max_header_lines: int = MAX_HEADER_LINES,
                    sanitise: bool = True, seen: int = 0) -> int:
        """`parse` for Python. `data` is not needed afterwards."""
        cdef RequestPolicy policy
        cdef ClientAddress address = self.address
        self.clear()
        self.address = address
        policy.max_header_bytes = max_header_bytes
        policy.max_header_lines = max_header_lines
        policy.aliases = ALIAS_KEEP
        policy.underscores_only = False
        policy.path.sanitise = sanitise
        policy.path.encode_semicolons = False
        policy.path.refused = 0
        return self.parse(data, len(data), seen, &policy)

    def come_from(self, address: str) -> None:
        """Set the client's address, given as text. Raises ValueError."""
        parsed = ipaddress.ip_address(address)
        packed = parsed.packed if parsed.version == 6 else bytes(10) + b"\xff\xff" + parsed.packed
        text = str(parsed).encode()
        memset(&self.address, 0, sizeof(self.address))
        memcpy(self.address.ip, <const char*>packed, 16)
        memcpy(self.address.text, <const char*>text, len(text))
        self.address.text_len = len(text)
        self.address.is_ipv4 = packed.startswith(bytes(10) + b"\xff\xff")

    def describe(self) -> dict:
        """The parsed fields as bytes."""
        cdef RequestHead* head = &self.head
        return {
            "method": span_bytes(head.method),
            "path": span_bytes(head.path),
            "route_path": span_bytes(head.route_path),
            "query": span_bytes(head.query) if head.has_query else None,
            "authority": span_bytes(head.authority),
            "host": span_bytes(head.host),
            "version": head.minor_version,
            "headers": self.header_list(),
            "body": self.framing.body,
            "length": self.framing.length,
            "keep_alive": self.framing.keep_alive,
            "upgrade": self.framing.upgrade,
            "names_headers": self.framing.names_headers,
            "expects_continue": self.framing.expects_continue,
        }
